/** When to come back after a lost connection (docs/protocol.md, section 6.2). Pure: randomness is an argument. */
import { afterClose, CLOSE_CODES } from '../protocol/codes.ts';

export interface BackoffPolicy {
  readonly minMs: number;
  readonly maxMs: number;
}

export interface Loss {
  readonly code: number;
  /** Attempts that have failed since the last stable connection. */
  readonly attempt: number;
  /** Milliseconds left until the slot that a `drain` frame gave; undefined: none was given. */
  readonly slotMs?: number | undefined;
  /** Whether a new token can be had: the provider is a function. */
  readonly freshTokens: boolean;
}

export type Next =
  | { readonly action: 'stop' }
  | {
      readonly action: 'retry';
      readonly delayMs: number;
      readonly attempt: number;
      readonly dropPositions: boolean;
    };

/** A server that asks for back-off is treated as if so many attempts more had failed. */
const HARDER = 3;
/** 2^16 times any sensible minimum is over any sensible maximum; beyond that the power only overflows. */
const EXPONENT_MAX = 16;

/**
 * The close that a slot ends with comes a moment after it: a wait on top of that would only make the client longer away.
 * One that is later than this comes with many others, from a server that was held up.
 */
const LATE_MS = 100;

/** The longest wait before attempt number `attempt` (0 is the first), in milliseconds. */
export function ceilingMs(attempt: number, policy: BackoffPolicy): number {
  return Math.min(policy.maxMs, policy.minMs * 2 ** Math.min(attempt, EXPONENT_MAX));
}

/** Full jitter: anywhere between nothing and the ceiling, so that a herd does not come back together. */
export function fullJitterMs(attempt: number, policy: BackoffPolicy, random: () => number): number {
  return random() * ceilingMs(attempt, policy);
}

export function afterLoss(loss: Loss, policy: BackoffPolicy, random: () => number): Next {
  const { code, attempt } = loss;
  const after = afterClose(code);
  if (after === 'stop') return { action: 'stop' };
  if (code === CLOSE_CODES.token_expired.code && !loss.freshTokens) return { action: 'stop' };
  const dropPositions = code === CLOSE_CODES.state_invalidated.code;
  return { action: 'retry', delayMs: delayMs(loss, policy, random), attempt: attempt + 1, dropPositions };
}

function delayMs(loss: Loss, policy: BackoffPolicy, random: () => number): number {
  const { code, attempt, slotMs } = loss;
  if (slotMs !== undefined && slotMs > -LATE_MS) return Math.max(0, slotMs);
  if (code >= 4100 && code <= 4199) {
    const floor = Math.min(policy.minMs, policy.maxMs);
    return floor + random() * (ceilingMs(attempt + HARDER, policy) - floor);
  }
  return fullJitterMs(attempt, policy, random);
}
