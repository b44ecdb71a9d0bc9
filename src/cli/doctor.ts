/** `carillon doctor`: its command line, and what a person or a program reads of it. */
import { parseArgs } from 'node:util';
import { type Usage, usage } from './serve.ts';

export const DOCTOR_HELP = `carillon doctor: looks at settings, machine, keys, certificates and NATS, and says what to mend

  carillon doctor [--config FILE] [--json]

  --config FILE    the settings (else CARILLON_CONFIG, else defaults and environment)
  --json           the findings as JSON: {"ok", "findings": [{"check", "status", "says", "fix"}]}

Run it where the broker runs: in its container, as its user, with its variables. It changes nothing. It connects to NATS,
fetches key sets, and asks the auth webhook about a token that was made up. docs/operations/kernel.md explains the limits.
Exit codes: 0 nothing failed (there may be warnings), 1 something did, 64 wrong usage, 78 no good settings.
`;

export interface DoctorFlags {
  readonly config?: string;
  readonly json: boolean;
  readonly help: boolean;
}

export function doctorFlags(args: readonly string[]): Usage<DoctorFlags> {
  const options = {
    config: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  } as const;
  const read = usage(() => parseArgs({ args: [...args], options }));
  if (!read.ok) return read;
  const { config, ...flags } = read.flags.values;
  return { ok: true, flags: { ...flags, ...(config !== undefined && { config }) } };
}

interface Shown {
  readonly check: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly says: string;
  readonly fix?: string;
}

export function showFindings(findings: readonly Shown[], json: boolean): string {
  const failed = findings.some(({ status }) => status === 'fail');
  if (json) return `${JSON.stringify({ ok: !failed, findings }, undefined, 2)}\n`;
  const lines = findings.map(({ check, status, says, fix }) => {
    const head = `${status.padEnd(4)}  ${check.padEnd(14)}  ${says.replaceAll('\n', '\n      ')}`;
    return fix === undefined ? head : `${head}\n      fix: ${fix}`;
  });
  const count = (wanted: Shown['status']) => findings.filter(({ status }) => status === wanted).length;
  return `${lines.join('\n')}\n\n${count('ok')} ok, ${count('warn')} warn, ${count('fail')} fail\n`;
}
