import type { Clock, Log } from '../../broker/ports.ts';
import { processTimers, type Timers } from './timers.ts';

/** What every part needs of the world around it. */
export interface Env {
  readonly log: Log;
  readonly timers: Timers;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds, never going back: for all that is measured. */
  readonly ticks: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** From 0 to less than 1. */
  readonly random: () => number;
}

export function environment(
  clock: Clock,
  log: Log,
  timers: Timers = processTimers,
  ticks: () => number = () => performance.now(),
  random: () => number = Math.random,
): Env {
  const sleep = (ms: number) =>
    new Promise<void>((resume) => {
      timers.after(Math.max(0, ms), resume);
    });
  return { log, timers, now: () => clock.now(), ticks, sleep, random };
}
