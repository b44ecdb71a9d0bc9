/** Stops what it stands for; harmless when that is over. */
export type Cancel = () => void;

/** The passing of time, so that tests can hold it. Tasks do not keep the process alive. */
export interface Timers {
  after(ms: number, task: () => void): Cancel;
  every(ms: number, task: () => void): Cancel;
}

export const processTimers: Timers = {
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
