import type { CatchUps } from './catchup.ts';
import type { Delivery } from './delivery.ts';
import type { PresenceNotices } from './notices.ts';
import type { Bus, Clock, Fanout, Log, TokenVerifier } from './ports.ts';
import type { Rooms } from './rooms.ts';
import type { Limits, NodeIdentity } from './settings.ts';
import type { SlowReaders } from './slow.ts';
import type { Tally } from './tally.ts';

/** The parts of a node that commands work with; built once by the hub. */
export interface Domain {
  readonly node: NodeIdentity;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly tally: Tally;
  readonly log: Log;
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly verifier: TokenVerifier;
  readonly rooms: Rooms;
  readonly delivery: Delivery;
  readonly catchUps: CatchUps;
  readonly notices: PresenceNotices;
  readonly slow: SlowReaders;
}
