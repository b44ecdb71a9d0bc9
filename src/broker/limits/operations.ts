import type { Inbound } from '../../protocol/inbound.ts';
import type { Fault } from '../ports.ts';
import type { OperationLimits } from '../settings.ts';
import { Bucket, type Rate } from './bucket.ts';
import type { Refused } from './tenant.ts';

/** By the type of the frame; faults are counted by limits.protocolErrors. */
export type Costs = Readonly<Record<Inbound['type'], number>>;

export function costsOf(limits: OperationLimits): Costs {
  return {
    pub: limits.costPublish,
    join: limits.costJoin,
    leave: limits.costLeave,
    history: limits.costHistory,
    presence: limits.costPresence,
    refresh: limits.costRefresh,
    seen: limits.costSeen,
    ping: limits.costPing,
    fault: 0,
  };
}

/** The points of one connection, and what else it may use. */
export class Allowance extends Bucket {
  #refusals: Bucket | undefined;
  #ephemeral: Bucket | undefined;

  /** An ephemeral publish. Milliseconds to wait; 0: taken. */
  takeEphemeral(rate: Rate, now: number): number {
    this.#ephemeral ??= new Bucket();
    return this.#ephemeral.take(rate, 1, now);
  }

  /** Counts a refusal. false: there were too many, and answering costs more than the client is worth. */
  refused({ refusals }: OperationLimits, now: number): boolean {
    this.#refusals ??= new Bucket();
    return this.#refusals.take({ perSecond: Math.ceil(refusals / 60), burst: refusals }, 1, now) === 0;
  }
}

export function overEphemeral({ perSecond, burst }: Rate, retryAfterMs: number): Refused {
  return {
    ok: false,
    by: 'connection_ephemeral',
    code: 'rate_limited',
    reason: `a connection may publish ${perSecond} ephemeral events a second (limits.ephemeral)`,
    limit: perSecond,
    used: burst,
    retryAfterMs,
  };
}

export function overOperations(
  { perSecond, burst }: OperationLimits,
  retryAfterMs: number,
): Omit<Fault, 'ok'> {
  return {
    code: 'rate_limited',
    reason: `a connection may use ${perSecond} points a second (limits.operations)`,
    limit: perSecond,
    used: burst,
    retryAfterMs,
  };
}
