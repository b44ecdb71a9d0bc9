import type { After, Clock } from '../broker/ports.ts';

export const clock: Clock = { now: Date.now };
/** Milliseconds, never going back. */
export const nowMs = () => performance.now();
export const later: After = (ms, task) => void setTimeout(task, ms);
