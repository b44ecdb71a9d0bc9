import type { Check, Readiness, Verdict } from '../ops/health.ts';

/** A worker, as the supervisor sees it. */
export interface WorkerView {
  readonly number: number;
  /** restarting: its process has ended, and the next one is due in `restartInMs`. */
  readonly state: 'starting' | 'serving' | 'restarting' | 'ended';
  readonly restartInMs: number;
  /** What it said last of itself, and how long ago. */
  readonly readiness: Readiness | undefined;
  readonly silentMs: number;
}

/** A worker is asked once a second. */
const SILENT_MS = 3000;

type Standing = Readiness['status'] | 'silent' | 'restarting' | 'ended';

/**
 * Whether new connections should come to this machine. The kernel spreads them evenly over the workers that listen,
 * whatever these have to do: as long as one is late or stands still, its share of the new ones would suffer. One that
 * has ended has no share, and the others serve: only where fewer than half are left, others should.
 */
export function judgeWorkers(workers: readonly WorkerView[], draining: boolean, started: boolean): Verdict {
  const standings = workers.map(standingOf);
  const count = (wanted: Standing) => standings.filter((standing) => standing === wanted).length;
  const checks: Record<string, Check> = {};
  for (const [at, worker] of workers.entries()) {
    const standing = standings[at] as Standing;
    checks[`worker-${worker.number}`] = { ok: standing === 'ready', detail: detailOf(worker, standing) };
  }
  const status = (): Verdict['status'] => {
    if (draining || count('draining') === workers.length) return 'draining';
    if (!started) return 'starting';
    if (count('overloaded') + count('silent') > 0) return 'overloaded';
    return count('ready') * 2 >= workers.length ? 'ready' : 'degraded';
  };
  return { status: status(), checks };
}

function standingOf({ state, readiness, silentMs }: WorkerView): Standing {
  if (state === 'restarting' || state === 'ended') return state;
  if (state === 'starting' || readiness === undefined) return 'starting';
  return silentMs > SILENT_MS ? 'silent' : readiness.status;
}

function detailOf({ readiness, restartInMs, silentMs }: WorkerView, standing: Standing): string {
  if (standing === 'ended') return standing;
  if (standing === 'restarting') return `restarts in ${Math.ceil(restartInMs / 1000)} s`;
  if (standing === 'silent') return `no answer for ${Math.round(silentMs / 1000)} s`;
  const { loop, bus } = readiness?.checks ?? {};
  return [standing, loop?.detail, bus && `bus ${bus.detail}`].filter(Boolean).join(', ');
}
