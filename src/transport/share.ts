import type { FrameQueue } from './frame-queue.ts';

/** The share of one connection in a turn of the loop. */
export class Share {
  turn = -1;
  messages = 0;
  bytes = 0;
  controls = 0;
  /** undefined while nothing waits. */
  queue: FrameQueue | undefined;
}
