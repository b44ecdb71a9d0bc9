import type { Inbound } from '../protocol/inbound.ts';
import type { Domain } from './domain.ts';
import { FairQueue } from './limits/fair.ts';
import { type Costs, costsOf } from './limits/operations.ts';
import type { Refused } from './limits/tenant.ts';
import type { Defer, Ticks } from './ports.ts';
import type { Session } from './session.ts';

export interface AdmissionParts {
  readonly domain: Domain;
  readonly defer: Defer;
  readonly ticks: Ticks;
  readonly handle: (session: Session, frame: Inbound) => void;
}

interface Waiting {
  readonly session: Session;
  readonly frame: Inbound;
}

/** What a frame costs beside its payload: decoding, the answer. In bytes, as payloads times receivers are. */
const FRAME_COST = 256;

const WAITS_TOO_MUCH: Refused = {
  ok: false,
  by: 'unfair',
  code: 'overloaded',
  reason: 'the node is overloaded, and too much of this tenant is waiting (limits.fairness)',
  retryAfterMs: 1000,
};

/** What stands between a decoded frame and its command: the connection's points, and tenants' turns under overload. */
export class Admission {
  readonly #parts: AdmissionParts;
  /** undefined: rates are off, and every frame is handled at once. */
  readonly #costs: Costs | undefined;
  readonly #fair: FairQueue<Waiting>;
  /** A turn of the loop has begun to be measured. */
  #measuring = false;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    const { limits, tally } = parts.domain;
    this.#costs = limits.rates ? costsOf(limits.operations) : undefined;
    this.#fair = new FairQueue({
      limits: limits.fairness,
      defer: parts.defer,
      handle: ({ session, frame }) => {
        if (!session.ended) parts.handle(session, frame);
      },
      served: () => tally.fairTurns++,
    });
  }

  take(session: Session, frame: Inbound): void {
    if (this.#costs === undefined) return this.#parts.handle(session, frame);
    if (!session.affords(frame, this.#costs[frame.type])) return;
    if (!this.#measuring) this.#measure();
    if (!this.#fair.active) return this.#parts.handle(session, frame);
    const { name, policy } = session.tenant;
    const bytes = frame.type === 'pub' ? frame.payloadText.length : 0;
    const cost = FRAME_COST + bytes * this.#receivers(session, frame);
    if (!this.#fair.offer(name, policy.weight, { session, frame }, cost, FRAME_COST + bytes))
      session.refuseLimited(frame, WAITS_TOO_MUCH);
  }

  /** From the first frame of a turn of the loop to its end: what everybody else waits for. */
  #measure(): void {
    this.#measuring = true;
    const { ticks, defer } = this.#parts;
    const from = ticks();
    defer(() => {
      this.#measuring = false;
      this.#fair.observe(ticks() - from);
    });
  }

  #receivers(session: Session, frame: Inbound): number {
    if (frame.type !== 'pub') return 0;
    const target = session.target(frame.room);
    const room = target && this.#parts.domain.rooms.get(target.ref.key);
    return Math.max(1, room?.members.length ?? 0);
  }
}
