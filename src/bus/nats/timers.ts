import type { Cancel } from '../../broker/cluster.ts';

export type { Cancel } from '../../broker/cluster.ts';

/** The passing of time, so that tests can hold it. Tasks do not keep the process alive. */
export interface Timers {
  /** Once, after the I/O callbacks of this turn of the loop. */
  soon(task: () => void): void;
  after(ms: number, task: () => void): Cancel;
  every(ms: number, task: () => void): Cancel;
}

export const processTimers: Timers = {
  soon: setImmediate,
  after(ms, task) {
    const timer = setTimeout(task, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
  every(ms, task) {
    const timer = setInterval(task, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
};

/** For commands: while they wait between two attempts nothing else keeps the process alive. */
export const commandTimers: Timers = {
  ...processTimers,
  after(ms, task) {
    const timer = setTimeout(task, ms);
    return () => clearTimeout(timer);
  },
};
