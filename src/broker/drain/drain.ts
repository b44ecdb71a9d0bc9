import type { Cluster, NodeInfo } from '../cluster.ts';
import type { After, Ticks } from '../ports.ts';
import type { Session } from '../session.ts';
import {
  type BudgetSettings,
  DrainBudget,
  type DrainLimit,
  type Pace,
  type Returns,
  type Survivor,
} from './budget.ts';

export interface DrainPlan extends BudgetSettings {
  readonly reason: string;
  /** Everybody is closed by then, from the start of the drain. */
  readonly deadlineMs: number;
  /** The last part of the deadline: who has no slot by its beginning is closed within it. */
  readonly windowMs: number;
  /** How often the pace is looked at: heartbeats bring nothing new sooner. */
  readonly roundMs: number;
  /** Somebody waits: see `hurry`. */
  readonly hurryMs?: number | undefined;
}

export interface DrainParts {
  readonly sessions: ReadonlyMap<string, Session>;
  readonly cluster: Pick<Cluster, 'nodes' | 'node'>;
  /** The ticket that the session comes back with. */
  readonly ticketOf: (session: Session) => string | undefined;
  readonly random: () => number;
  readonly ticks: Ticks;
  readonly after: After;
  /** Runs once, when the last has been closed. */
  readonly done: () => void;
}

export interface DrainProgress {
  readonly state: 'none' | 'draining' | 'drained';
  /** Connections at the start, and of them those that are still there. */
  readonly total: number;
  readonly left: number;
  readonly perSecond: number;
  readonly limit: DrainLimit;
  /** The survivor that limits. */
  readonly limitedBy?: string;
  readonly survivors: number;
  readonly elapsedMs: number;
  readonly deadlineMs: number;
}

export const NO_DRAIN: DrainProgress = {
  state: 'none',
  total: 0,
  left: 0,
  perSecond: 0,
  limit: 'none',
  survivors: 0,
  elapsedMs: 0,
  deadlineMs: 0,
};

/** Publishes that wait for the bus are given so long before their connection is closed, looked at so often. */
const SETTLE_MS = 1000;
const SETTLE_LOOKS = 100;
/** Nobody comes back any more. */
const STUCK: Returns = { perSecond: 0, awayMs: Number.MAX_SAFE_INTEGER };
/** What is all but a whole connection is one: 999.9999 of 1,000 would leave one over. */
const ROUNDING = 1e-6;
/** Of the deadline, at most SETTLE_MS: for what the last ones have published. */
const SETTLE_SHARE = 0.1;

/**
 * Sends every session away in a slot of its own. With each heartbeat of the others as many get their slot, in `drain`, as the
 * budget allows until the next one; close 4200 comes in it. When the time is up, the rest gets 4100, which
 * says to come back later.
 */
export class Drain {
  readonly #plan: DrainPlan;
  readonly #parts: DrainParts;
  readonly #budget: DrainBudget;
  readonly #total: number;
  readonly #startedAt: number;
  #deadlineMs: number;
  /** Without a slot, in no order. */
  #waiting: Session[];
  /** With a slot that has not come, or with publishes that wait. */
  #leaving = 0;
  /** Who has been sent away and is not known to be back, by session, since when. */
  readonly #away = new Map<string, number>();
  /** Who came back since the last round, and the milliseconds that they were away. */
  #returned = { count: 0, ms: 0 };
  #cameBack = false;
  #roundAt = 0;
  /** Part of a connection that the rounds so far have left over. */
  #credit = 0;
  #pace: Pace = { perSecond: 0, limit: 'growing', survivors: 0 };
  /** Nobody is given a slot by the budget any more. */
  #last = false;
  #done = false;

  constructor(plan: DrainPlan, parts: DrainParts) {
    this.#plan = plan;
    this.#parts = parts;
    this.#budget = new DrainBudget(plan);
    this.#waiting = shuffled([...parts.sessions.values()], parts.random);
    this.#total = this.#waiting.length;
    this.#startedAt = parts.ticks();
    this.#deadlineMs = plan.deadlineMs;
    if (plan.hurryMs !== undefined) {
      this.hurry(plan.hurryMs);
    } else {
      this.#round();
      this.#expect();
    }
  }

  get progress(): DrainProgress {
    const { sessions } = this.#parts;
    return {
      state: this.#done ? 'drained' : 'draining',
      total: this.#total,
      left: sessions.size,
      ...this.#pace,
      elapsedMs: Math.round(this.#elapsedMs),
      deadlineMs: Math.round(this.#deadlineMs),
    };
  }

  /** The session has a connection on another node. */
  back(session: string): void {
    const since = this.#away.get(session);
    if (since === undefined) return;
    this.#away.delete(session);
    this.#returned.count++;
    this.#returned.ms += this.#parts.ticks() - since;
  }

  /** A new deadline, from now; one that is sooner stays. */
  hasten(deadlineMs: number): void {
    const fromStart = this.#elapsedMs + deadlineMs;
    if (fromStart >= this.#deadlineMs) return;
    this.#deadlineMs = fromStart;
    this.#expect();
  }

  /** Somebody waits: who has no slot yet gets one within so many milliseconds, whatever the others can take. */
  hurry(ms: number): void {
    if (this.#last) return;
    this.#last = true;
    this.#pace = { perSecond: (this.#waiting.length * 1000) / Math.max(1, ms), limit: 'fast', survivors: 0 };
    this.#sendAway(this.#waiting.splice(0), ms);
    this.#settle();
  }

  get #elapsedMs(): number {
    return this.#parts.ticks() - this.#startedAt;
  }

  /** Until the last part of the deadline begins. */
  get #remainingMs(): number {
    const settleMs = Math.min(SETTLE_MS, this.#deadlineMs * SETTLE_SHARE);
    return this.#deadlineMs - settleMs - this.#plan.windowMs - this.#elapsedMs;
  }

  #expect(): void {
    this.#parts.after(Math.max(1, this.#remainingMs), () => {
      if (this.#last) return;
      // A timer may fire a fraction of a millisecond early.
      if (this.#remainingMs > 0) this.#expect();
      else this.#closeRest();
    });
  }

  #round(): void {
    if (this.#last) return;
    this.#waiting = this.#waiting.filter(({ ended }) => !ended);
    if (this.#waiting.length === 0) return this.#settle();
    const remainingMs = this.#remainingMs;
    if (remainingMs <= 0) return;
    const ms = Math.min(this.#plan.roundMs, remainingMs);
    const returns = this.#returnsSince(this.#roundAt);
    this.#roundAt = this.#parts.ticks();
    this.#pace = this.#budget.next({ ...this.#others(), returns, left: this.#waiting.length, remainingMs });
    const { perSecond } = this.#pace;
    const allowed = this.#credit + (perSecond * ms) / 1000;
    const count = Math.floor(allowed + ROUNDING);
    this.#credit = Math.max(0, allowed - count);
    const batch = this.#waiting.splice(0, count);
    // The last ones need not be spread over all of the round.
    this.#sendAway(batch, Math.min(ms, (batch.length * 1000) / perSecond));
    this.#parts.after(Math.max(1, ms), () => this.#round());
  }

  #returnsSince(lastRound: number): Returns | undefined {
    const { count, ms } = this.#returned;
    this.#returned = { count: 0, ms: 0 };
    this.#cameBack ||= count > 0;
    const passedMs = this.#parts.ticks() - lastRound;
    if (count > 0 && passedMs > 0) return { perSecond: (count * 1000) / passedMs, awayMs: ms / count };
    // Where clients do come back, and none has, the way is stuck. Others begin a session of their own: nothing is known.
    return this.#cameBack && this.#away.size > 0 ? STUCK : undefined;
  }

  #others(): { readonly survivors: readonly Survivor[]; readonly drainers: number } {
    const { cluster } = this.#parts;
    const others = cluster.nodes().filter(({ node }) => node !== cluster.node);
    const survivors = others.filter(({ status }) => !status.draining);
    const draining = others.filter(({ status }) => status.draining && status.connections > 0);
    return {
      survivors: survivors.map((info) => survivorOf(info, this.#plan.perSecond)),
      drainers: draining.length + 1,
    };
  }

  /** Evenly over the time, each somewhere in its part of it. */
  #sendAway(sessions: readonly Session[], ms: number): void {
    const { ticketOf, random } = this.#parts;
    const { reason } = this.#plan;
    for (const [at, session] of sessions.entries()) {
      const slotMs = Math.round(((at + random()) / sessions.length) * ms);
      const ticket = ticketOf(session);
      session.send({ type: 'drain', reason, retryAfterMs: slotMs, ...(ticket && { ticket }) });
      this.#closeAfter(session, slotMs, 'drain', reason);
    }
  }

  #closeRest(): void {
    this.#last = true;
    const rest = this.#waiting.splice(0);
    const { windowMs } = this.#plan;
    this.#pace = { perSecond: (rest.length * 1000) / Math.max(1, windowMs), limit: 'deadline', survivors: 0 };
    const reason = `${this.#plan.reason}: the other nodes cannot take everybody in time, come back later`;
    for (const [at, session] of rest.entries())
      this.#closeAfter(session, Math.round((at / rest.length) * windowMs), 'overloaded', reason);
    this.#settle();
  }

  #closeAfter(session: Session, ms: number, why: 'drain' | 'overloaded', reason: string): void {
    const { after } = this.#parts;
    this.#leaving++;
    const close = (looks: number) => {
      // An ack that comes after the close is lost: its publisher would publish again.
      if (!session.ended && session.publishing > 0 && looks > 0)
        return after(SETTLE_MS / SETTLE_LOOKS, () => close(looks - 1));
      if (!session.ended) this.#away.set(session.id, this.#parts.ticks());
      session.end(why, reason);
      this.#leaving--;
      this.#settle();
    };
    after(ms, () => close(SETTLE_LOOKS));
  }

  #settle(): void {
    if (this.#done || this.#waiting.length + this.#leaving > 0) return;
    this.#done = true;
    this.#parts.done();
  }
}

/** A node of a former version does not tell what it takes: as much as this one. */
function survivorOf({ node, status }: NodeInfo, perSecond: number): Survivor {
  const { acceptsPerSecond, loopLagMs } = status;
  const { acceptsMax = perSecond, spare = Number.POSITIVE_INFINITY } = status;
  return { node, acceptsPerSecond, acceptsMax, spare, loopLagMs };
}

/** Fisher-Yates: connected one after another, neighbours are often of one client. */
function shuffled<T>(items: T[], random: () => number): T[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [items[at], items[other]] = [items[other] as T, items[at] as T];
  }
  return items;
}
