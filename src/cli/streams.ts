/** `carillon streams apply`: its flags, and what it says. Pure text. */
import { parseArgs } from 'node:util';
import { type Usage, usage } from './serve.ts';

export const STREAMS_HELP = `carillon streams apply: create or update the JetStream streams of this installation

  carillon streams apply [--config FILE] [--narrow]

  --config FILE  the settings (else from CARILLON_CONFIG, else defaults)
  --narrow       make narrower too what keeps more than the settings say: events that they do not ask for are dropped
                 for good. Without it such streams stay as they are, and the answer says what --narrow would drop.

Needs the nats section of the settings, with credentials that may create and update streams. Brokers with
nats.manageStreams: false need nothing of that, and take streams that are wider than their settings. The number of
shards of an installation cannot be changed.
Exit codes: 0 done, 1 refused by NATS, 64 wrong usage, 78 no good settings.
`;

export interface StreamsFlags {
  readonly config?: string;
  readonly narrow: boolean;
  readonly help: boolean;
}

export function streamsFlags(args: readonly string[]): Usage<StreamsFlags> {
  const read = usage(() =>
    parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        narrow: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  );
  if (!read.ok) return read;
  const { config, narrow, help } = read.flags.values;
  return { ok: true, flags: { narrow, help, ...(config !== undefined && { config }) } };
}

/** Of one bound of a stream; drops: what making it narrower takes away. */
interface Narrowing {
  readonly stream: string;
  readonly difference: string;
  readonly drops: string;
}

export interface Applied {
  readonly created: readonly string[];
  readonly updated: readonly string[];
  readonly unchanged: readonly string[];
  readonly wider: readonly Narrowing[];
  readonly narrowed: readonly Narrowing[];
}

export function showApplied({ created, updated, unchanged, wider, narrowed }: Applied): string {
  const lines = Object.entries({ created, updated, unchanged })
    .filter(([, names]) => names.length > 0)
    .map(([what, names]) => `${what}: ${names.join(', ')}`);
  for (const { stream, difference, drops } of narrowed)
    lines.push(`narrowed: ${stream}: ${difference.replace(' is ', ' was ')}; dropped: ${drops}`);
  for (const { stream, difference, drops } of wider)
    lines.push(`left wider: ${stream}: ${difference}; --narrow would drop: ${drops}`);
  if (wider.length > 0)
    lines.push(
      'Wider streams do no harm. To take back what they have beyond the settings, run this with --narrow.',
    );
  return `${lines.join('\n')}\n`;
}
