import type { Log } from './ports.ts';

/** What a start waits for, in words for the person who watches it. */
export interface Wait {
  readonly what: string;
  /** Why it is not over yet, as far as that is known. */
  readonly why: () => string | undefined;
  /** What to do about it. */
  readonly fix?: string;
  /** When it is given up. Absent: never. */
  readonly givesUpMs?: number;
}

/** Runs a task once after some milliseconds; gives what stops it. */
export type Alarm = (ms: number, task: () => void) => () => void;

/** Well within two seconds, whatever else the loop has to do. */
const FIRST_MS = 1000;
const MOST_MS = 30_000;

/**
 * Says what a start waits for while it waits: after a second, then twice as long each time, up to half a minute. A
 * start that says nothing cannot be told from one that hangs.
 */
export async function withNotice<T>(
  wait: Wait,
  { log, alarm }: { readonly log: Log; readonly alarm: Alarm },
  task: () => Promise<T>,
): Promise<T> {
  let stop = () => {};
  const tell = (waitedMs: number, nextMs: number) => {
    const why = wait.why() ?? 'no answer yet';
    const { what: waitsFor, fix, givesUpMs } = wait;
    const fields = { waitsFor, why, waitedMs, ...(fix && { fix }), ...(givesUpMs && { givesUpMs }) };
    log.warn(fields, `the start waits for ${waitsFor}: ${why}`);
    stop = alarm(nextMs, () => tell(waitedMs + nextMs, Math.min(MOST_MS, nextMs * 2)));
  };
  stop = alarm(FIRST_MS, () => tell(FIRST_MS, 2 * FIRST_MS));
  try {
    return await task();
  } finally {
    stop();
  }
}
