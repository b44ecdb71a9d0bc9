/** What one check of `carillon doctor` found. */
export type Status = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** Short and stable: `open-files`. */
  readonly check: string;
  readonly status: Status;
  readonly says: string;
  /** Of `warn` and `fail`: what to do. */
  readonly fix?: string;
}

export function ok(check: string, says: string): Finding {
  return { check, status: 'ok', says };
}

export function warn(check: string, says: string, fix: string): Finding {
  return { check, status: 'warn', says, fix };
}

export function fail(check: string, says: string, fix: string): Finding {
  return { check, status: 'fail', says, fix };
}

/** A check that cannot be made here finds nothing. */
export function present(findings: readonly (Finding | undefined)[]): readonly Finding[] {
  return findings.filter((finding) => finding !== undefined);
}
