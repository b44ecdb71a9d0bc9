import type { Hub } from '../broker/hub.ts';
import type { Bus } from '../broker/ports.ts';
import type { Config } from '../config.ts';
import { later } from './time.ts';

/** A drain that a person waits for. */
const FAST_DRAIN_MS = 300;
/** Time for the last close frames to leave the socket buffers. */
const LINGER_MS = 50;

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
  await Promise.race([sentAway.then(() => bus.drain(drain.deadlineMs)), deadline.reached]);
  deadline.cancel();
  await after(LINGER_MS).reached;
}

export function after(ms: number): { readonly reached: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { reached, cancel: () => clearTimeout(timer) };
}
