import type { IdentityCounts } from '../broker/identity-counts.ts';
import type { Clock, Log } from '../broker/ports.ts';

/** What every part that verifies is given. */
export interface Around {
  readonly clock: Clock;
  readonly log: Log;
  readonly counts: IdentityCounts;
}
