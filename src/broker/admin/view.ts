import type { Fates } from '../fate/fates.ts';
import type { Policies } from '../limits/policy.ts';
import type { BusHealth } from '../ports.ts';
import type { Room } from '../room.ts';
import type { Samples } from '../schema/samples.ts';
import type { Session } from '../session.ts';
import type { Tally } from '../tally.ts';
import type { Backend } from './backend.ts';

/** What the admin calls see of a node. */
export interface NodeView {
  readonly sessions: ReadonlyMap<string, Session>;
  rooms(): Iterable<Room>;
  room(tenant: string, name: string): Room | undefined;
  readonly backend: Backend;
  readonly policies: Policies;
  readonly violations: Samples;
  readonly fates: Fates;
  readonly tally: Tally;
  health(): BusHealth;
  /** Milliseconds since 1970. */
  now(): number;
}
