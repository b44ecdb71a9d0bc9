import type { After, Clock } from '../broker/ports.ts';
import type { Alarm } from '../broker/wait-notice.ts';

export const clock: Clock = { now: Date.now };
/** Milliseconds, never going back. */
export const nowMs = () => performance.now();
export const later: After = (ms, task) => void setTimeout(task, ms);

/** Gives what stops it; does not keep the process alive. */
export const alarm: Alarm = (ms, task) => {
  const timer = setTimeout(task, ms).unref();
  return () => clearTimeout(timer);
};

export function after(ms: number): { readonly reached: Promise<void>; cancel(): void } {
  let timer: NodeJS.Timeout | undefined;
  const reached = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return { reached, cancel: () => clearTimeout(timer) };
}
