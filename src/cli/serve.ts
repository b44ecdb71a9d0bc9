/** What `serve` reads from its command line and tells the person who started it. Pure text. */
import { parseArgs } from 'node:util';

export interface ServeFlags {
  readonly config?: string;
  readonly checkConfig: boolean;
  readonly version: boolean;
  readonly help: boolean;
  /** Its number, where the supervisor has started this process; not for people. */
  readonly worker?: string;
}

export type Usage<T> =
  | { readonly ok: true; readonly flags: T }
  | { readonly ok: false; readonly reason: string };

export const SERVE_HELP = `carillon: a WebSocket pub/sub broker

  node dist/main.js [--config FILE]

  --config FILE    read the settings from FILE (else from CARILLON_CONFIG, else defaults)
  --check-config   say what is wrong with the settings, or that nothing is, and end
  --version        print the version and end
  --help           print this and end

Without any key configured and on 127.0.0.1 the broker starts in development mode: it makes a key and
prints a token to try it with. config/carillon.yaml explains every setting. Every setting is also an
environment variable: limits.frameBytes is CARILLON_LIMITS__FRAMEBYTES.

Exit codes: 0 ended as asked, 1 failed, 64 wrong usage, 78 wrong configuration.
`;

export function serveFlags(args: readonly string[]): Usage<ServeFlags> {
  const read = usage(() =>
    parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        'check-config': { type: 'boolean', default: false },
        version: { type: 'boolean', short: 'v', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        worker: { type: 'string' },
      },
    }),
  );
  if (!read.ok) return read;
  const { config, worker, version, help, 'check-config': checkConfig } = read.flags.values;
  const given = { ...(config !== undefined && { config }), ...(worker !== undefined && { worker }) };
  return { ok: true, flags: { checkConfig, version, help, ...given } };
}

/** parseArgs throws for what it does not know; its texts are fit to be shown. */
export function usage<T>(parse: () => T): Usage<T> {
  try {
    return { ok: true, flags: parse() };
  } catch (error) {
    if (error instanceof TypeError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** For the person who has just started a broker without a key: what to open and what to type. */
export function developmentNotice(listen: string, token: string, page: boolean, tls: boolean): string {
  const [http, ws] = tls ? ['https', 'wss'] : ['http', 'ws'];
  const lines = [
    '',
    '  Carillon runs in DEVELOPMENT MODE: the key is new at each start. Not for production.',
    '',
    ...(page ? [`  page: ${http}://${listen}/`] : []),
    '',
    '  or by hand, in another terminal:',
    `  TOKEN=${token}`,
    `  wscat -c ${ws}://${listen}/connect -s chat.v1 -H "Authorization: Bearer $TOKEN"`,
    `  websocat --protocol chat.v1 -H "Authorization: Bearer $TOKEN" ${ws}://${listen}/connect`,
    '  and then, line by line:',
    '  {"type":"join","room":"chat:lobby"}',
    '  {"type":"pub","room":"chat:lobby","payload":"hello"}',
    '',
    '  With a key of your own: export CARILLON_JWT_SECRET=$(openssl rand -base64 48)',
    '',
  ];
  return `${lines.join('\n')}\n`;
}
