import type { After } from './ports.ts';
import type { Session } from './session.ts';

export interface DrainPlan {
  /** Over how long the connections are sent away, at most. */
  readonly windowMs: number;
  /** Connections per second: few connections are gone sooner than the window. */
  readonly perSecond: number;
  readonly reason: string;
  /** The ticket that the session comes back with. */
  readonly ticketOf: (session: Session) => string | undefined;
}

/**
 * Sends every session away in a slot of its own, so that they do not arrive elsewhere all at once: `drain`
 * tells the slot, close 4200 comes in it. `done` runs when the last has been closed.
 */
export function drainSessions(
  sessions: readonly Session[],
  plan: DrainPlan,
  random: () => number,
  after: After,
  done: () => void,
): void {
  const windowMs = Math.min(plan.windowMs, (sessions.length / plan.perSecond) * 1000);
  let left = sessions.length;
  if (left === 0) return done();
  for (const session of sessions) {
    const slotMs = Math.round(random() * windowMs);
    const ticket = plan.ticketOf(session);
    session.send({ type: 'drain', reason: plan.reason, retryAfterMs: slotMs, ...(ticket && { ticket }) });
    after(slotMs, () => {
      session.end('drain', plan.reason);
      left--;
      if (left === 0) done();
    });
  }
}
