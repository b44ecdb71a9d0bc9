import type { BusHealth } from '../broker/ports.ts';

export type Phase = 'starting' | 'serving' | 'draining';

export interface Check {
  readonly ok: boolean;
  /** One word or figure for people. */
  readonly detail: string;
}

/** As /readyz tells it; ready is 200, all else 503. */
export interface Verdict {
  readonly status: 'ready' | 'starting' | 'draining' | 'overloaded' | 'degraded';
  readonly checks: Readonly<Record<string, Check>>;
}

export interface Readiness extends Verdict {
  readonly checks: Readonly<Record<'phase' | 'loop' | 'bus' | 'settings', Check>>;
}

export interface Vitals {
  readonly phase: Phase;
  readonly loopLagMs: number;
  readonly loopLagLimitMs: number;
  readonly bus: BusHealth;
  /** In words, where other nodes have other settings; `conflict`: so that this one must not serve. */
  readonly settings: { readonly detail: string; readonly conflict: string | undefined };
}

/**
 * Whether new connections should come to this process. The bus is shown but not asked: when it is away, it is away
 * for all pods alike, and taking all of them out of the service would turn a degraded broker into a missing one.
 */
export function judge(vitals: Vitals): Readiness {
  const loopOk = vitals.loopLagMs <= vitals.loopLagLimitMs;
  return {
    status: statusOf(vitals),
    checks: {
      phase: { ok: vitals.phase === 'serving', detail: vitals.phase },
      loop: {
        ok: loopOk,
        detail: `p99 ${vitals.loopLagMs.toFixed(1)} ms, limit ${vitals.loopLagLimitMs} ms`,
      },
      bus: {
        ok: vitals.bus.state === 'up',
        detail: [vitals.bus.state, vitals.bus.detail].filter(Boolean).join(': '),
      },
      settings: {
        ok: vitals.settings.detail === '' && vitals.settings.conflict === undefined,
        detail: (vitals.settings.conflict ?? vitals.settings.detail) || 'the same on all nodes',
      },
    },
  };
}

/** The verdict without its words: for those who ask often. */
export function statusOf(vitals: Omit<Vitals, 'bus'>): Readiness['status'] {
  const { phase, settings, loopLagMs, loopLagLimitMs } = vitals;
  if (phase !== 'serving') return phase;
  if (settings.conflict !== undefined) return 'degraded';
  return loopLagMs <= loopLagLimitMs ? 'ready' : 'overloaded';
}
