/** What every bus refuses with. */
import type { Fault } from '../broker/ports.ts';

const RETRY_MS = 1000;

export const DRAINING: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the node is draining',
  retryAfterMs: RETRY_MS,
};
export const CLOSED: Fault = { ok: false, code: 'unavailable', reason: 'the bus is closed' };
