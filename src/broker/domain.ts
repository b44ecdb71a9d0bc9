import { Bundles } from './bundles.ts';
import { CatchUps } from './catchup.ts';
import type { Cluster } from './cluster.ts';
import { Delivery } from './delivery.ts';
import type { Gate } from './exclusion/gate.ts';
import { type FateSettings, Witness } from './fate/witness.ts';
import { type LifecycleHooks, type Lived, NO_LIFECYCLE } from './lifecycle/hooks.ts';
import { Lifecycle, type LifecycleParts } from './lifecycle/lifecycle.ts';
import type { Tenants } from './limits/tenants.ts';
import { Places } from './places.ts';
import type { After, Bus, Clock, Cursors, Defer, Fanout, Log, Ticks } from './ports.ts';
import { Presence } from './presence/presence.ts';
import { Rooms } from './rooms.ts';
import { SchemaChecks } from './schema/checks.ts';
import type { Worker } from './sessions/frame-turns.ts';
import { Stamps } from './sessions/stamps.ts';
import type { Batching, Limits, NodeIdentity, PresenceSettings, RoomPolicy } from './settings.ts';
import { Signals } from './signals.ts';
import { SlowReaders } from './slow.ts';
import type { Tally } from './tally.ts';
import { NO_TRACING, type Tracing } from './tracing.ts';

/** What a node is built from. */
export interface DomainParts {
  readonly node: NodeIdentity;
  readonly limits: Limits;
  readonly batching: Batching;
  readonly presence: PresenceSettings;
  readonly policies: readonly RoomPolicy[];
  readonly tenants: Tenants;
  readonly bus: Bus;
  readonly cluster: Cluster;
  /** The longest that a client waits for other nodes. */
  readonly askMs: number;
  /** Absent: no record of sessions is kept. */
  readonly lifecycle?: Pick<LifecycleParts, 'sink' | 'archive' | 'graceMs'>;
  readonly explain: FateSettings;
  readonly cursors: Cursors;
  readonly fanout: Fanout;
  readonly gate: Gate;
  /** An answer that a session has waited for has come. */
  readonly answered: (session: Worker) => void;
  readonly clock: Clock;
  readonly ticks: Ticks;
  readonly defer: Defer;
  readonly after: After;
  readonly tally: Tally;
  readonly log: Log;
  /** Absent: nothing is traced. */
  readonly tracing?: Tracing | undefined;
}

/** The parts of a node that commands work with. */
export interface Domain {
  readonly node: NodeIdentity;
  readonly limits: Limits;
  readonly tenants: Tenants;
  readonly clock: Clock;
  readonly tally: Tally;
  readonly log: Log;
  readonly tracing: Tracing;
  readonly bus: Bus;
  readonly cursors: Cursors;
  readonly gate: Gate;
  readonly rooms: Rooms;
  readonly delivery: Delivery;
  readonly bundles: Bundles;
  readonly catchUps: CatchUps;
  readonly presence: Presence;
  readonly slow: SlowReaders;
  readonly places: Places;
  readonly schemas: SchemaChecks;
  readonly signals: Signals;
  readonly stamps: Stamps;
  readonly lifecycle: LifecycleHooks;
  /** An answer that a session has waited for has come. */
  readonly answered: (session: Worker) => void;
  readonly witness: Witness;
}

export function buildDomain(parts: DomainParts, sessions: ReadonlyMap<string, Lived>): Domain {
  const { bus, clock, ticks, defer, limits, tally, tracing = NO_TRACING } = parts;
  const witness = new Witness(parts.explain, clock);
  const delivery = new Delivery({ ...parts, tracing, witness });
  const bundles = new Bundles(parts);
  const catchUps = new CatchUps({ bus, delivery, bundles, limits, ticks, defer, tally, witness });
  const slow = new SlowReaders({
    limits,
    keeps: (room) => bus.keeps(room),
    delivery,
    bundles,
    catchUps,
    ticks,
    tally,
    witness,
  });
  const rooms = new Rooms(parts.policies, parts.tenants.policies, bus, delivery, tally);
  delivery.whenPublished((bytes) => slow.published(bytes));
  const stamps = new Stamps(clock);
  return {
    node: parts.node,
    limits,
    tenants: parts.tenants,
    clock,
    tally,
    log: parts.log,
    tracing,
    bus,
    cursors: parts.cursors,
    gate: parts.gate,
    rooms,
    delivery,
    bundles,
    catchUps,
    presence: new Presence({ ...parts, delivery, rooms }),
    slow,
    places: new Places(parts),
    schemas: new SchemaChecks({ limits: limits.schemas, clock, ticks, tally }),
    signals: new Signals({ ...parts, tracing, limits: limits.ephemeral }),
    stamps,
    witness,
    answered: parts.answered,
    lifecycle:
      parts.lifecycle === undefined
        ? NO_LIFECYCLE
        : new Lifecycle({ ...parts, ...parts.lifecycle, sessions, stamps }),
  };
}
