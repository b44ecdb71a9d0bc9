import type { Hub } from '../broker/hub.ts';
import type { Bus } from '../broker/ports.ts';
import type { Config } from '../config.ts';
import { later } from './time.ts';

/** A drain that a person waits for. */
const FAST_DRAIN_MS = 300;
/** Time for the last close frames to leave the socket buffers. */
const LINGER_MS = 50;
const GRACE_POLL_MS = 100;

/** Sends every client away in a slot of its own; resolves when all are gone or the deadline has come. */
export async function sendAway(
  hub: Hub,
  bus: Bus,
  drain: Config['drain'],
  fast: boolean,
  reason: string,
): Promise<void> {
  const windowMs = fast ? Math.min(FAST_DRAIN_MS, drain.windowMs) : drain.windowMs;
  const deadline = after(drain.deadlineMs);
  const sentAway = new Promise<void>((done) => {
    const plan = { windowMs, perSecond: drain.perSecond, reason };
    hub.drain(plan, Math.random, later, done);
  });
  const finished = sentAway.then(() =>
    Promise.all([bus.drain(drain.deadlineMs), fast || gracesOver(hub, drain.deadlineMs)]),
  );
  await Promise.race([finished, deadline.reached]);
  deadline.cancel();
  await after(LINGER_MS).reached;
}

/**
 * Whoever has been sent away and is not in the room elsewhere yet is known to the others from here alone: a client that
 * joins meanwhile would not find them, and take them to have left.
 */
async function gracesOver(hub: Hub, deadlineMs: number): Promise<void> {
  for (let waited = 0; hub.keptByGrace > 0 && waited < deadlineMs; waited += GRACE_POLL_MS)
    await after(GRACE_POLL_MS).reached;
}

export function after(ms: number): { readonly reached: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { reached, cancel: () => clearTimeout(timer) };
}
