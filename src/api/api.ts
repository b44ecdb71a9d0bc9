/** The server API and the admin API, as the two listeners serve them. */
import type { Backend } from '../broker/admin/backend.ts';
import type { Cluster } from '../broker/cluster.ts';
import type { Exclusions } from '../broker/exclusion/exclusions.ts';
import type { Gate } from '../broker/exclusion/gate.ts';
import { networkOf } from '../broker/exclusion/network.ts';
import { Buckets } from '../broker/limits/buckets.ts';
import type { Policies } from '../broker/limits/policy.ts';
import type { ParsePolicy } from '../broker/limits/shared.ts';
import type { Log } from '../broker/ports.ts';
import type { UsageBook } from '../broker/usage.ts';
import type { WebHandler } from '../broker/web.ts';
import { actions } from './admin/actions.ts';
import { banning } from './admin/bans.ts';
import { diagnosis } from './admin/diagnosis.ts';
import { draining } from './admin/drain.ts';
import { type Explain, explaining } from './admin/explain.ts';
import { type ExplainMessage, fates } from './admin/fate.ts';
import { overview } from './admin/overview.ts';
import { revoking } from './admin/revoke.ts';
import { schemaViolations } from './admin/schemas.ts';
import { tenants } from './admin/tenants.ts';
import { usage } from './admin/usage.ts';
import { Callers } from './http/callers.ts';
import type { Route } from './http/route.ts';
import { Router, type RouterParts } from './http/router.ts';
import { publishing } from './server/publishing.ts';
import { rooms } from './server/rooms.ts';
import { tokens } from './server/tokens.ts';

export interface ApiLimits {
  readonly bodyBytes: number;
  readonly broadcastTargets: number;
  /** Refused credentials that one address may send per minute. */
  readonly failuresPerMinute: number;
}

/** What the calls are made of. */
export interface RouteParts {
  readonly cluster: Cluster;
  /** Names of the nodes of this machine: workers of one supervisor, or this one alone. */
  readonly machine: readonly string[];
  readonly backend: Backend;
  readonly policies: Policies;
  readonly parsePolicy: ParsePolicy;
  readonly exclusions: Exclusions;
  readonly explain: Explain;
  readonly explainMessage: ExplainMessage;
  readonly usage: UsageBook;
  readonly limits: ApiLimits;
}

export interface ApiParts extends RouteParts {
  readonly gate: Gate;
  readonly adminToken: string | undefined;
  /** What a body may hold, as a frame. */
  readonly frames: RouterParts['limits'];
  readonly log: Log;
  /** Milliseconds, never going back. */
  readonly nowMs: () => number;
}

/** All calls, for the routers and for the description of them. */
export function routesOf(parts: RouteParts): Route[] {
  const { cluster, backend, policies, parsePolicy, explain, exclusions, usage: book, limits } = parts;
  return [
    ...overview(cluster),
    ...actions(cluster),
    ...draining(cluster, parts.machine),
    ...explaining(explain),
    ...fates(parts.explainMessage),
    ...revoking(exclusions),
    ...banning(exclusions),
    ...schemaViolations(cluster),
    ...tenants(cluster, policies, parsePolicy),
    ...diagnosis(cluster),
    ...usage(cluster, book),
    ...publishing(cluster, backend, limits.broadcastTargets),
    ...rooms(cluster, backend),
    ...tokens(exclusions),
  ];
}

export interface Api {
  readonly server: WebHandler;
  readonly admin: WebHandler;
  /** Since the start, by `<scope>_<class of the status>`. */
  readonly answers: ReadonlyMap<string, number>;
}

/** Addresses whose failures are remembered. */
const ADDRESSES = 10_000;
/** Looked at per failure, to forget the idle ones: more than a failure can add. */
const SWEEP = 2;

export function createApi(parts: ApiParts): Api {
  const { gate, adminToken, limits, log, nowMs } = parts;
  const routes = routesOf(parts);
  const answers = new Map<string, number>();
  const rate = { perSecond: Math.max(1, limits.failuresPerMinute / 60), burst: limits.failuresPerMinute };
  const failures = new Buckets(rate, ADDRESSES);
  const now = () => Math.floor(nowMs());
  const common = {
    callers: new Callers(gate, adminToken),
    bodyBytes: limits.bodyBytes,
    limits: parts.frames,
    log,
    suspect: (address: string) => failures.wait(countedAs(address), 1, now()) > 0,
    failed: (address: string) => {
      failures.sweep(now(), SWEEP);
      return failures.take(countedAs(address), 1, now());
    },
    counted: ({ scope }: Route, status: number) => {
      const label = `${scope}_${Math.floor(status / 100)}xx`;
      answers.set(label, (answers.get(label) ?? 0) + 1);
    },
  };
  const of = (scope: Route['scope']): WebHandler => {
    const router = new Router({ ...common, routes: routes.filter((route) => route.scope === scope) });
    return (request) => router.answer(request);
  };
  return { server: of('api'), admin: of('admin'), answers };
}

/** Of IPv6 one customer has 64 bits: each of its addresses would bring another 60 failures. */
function countedAs(address: string): string {
  return networkOf(address) ?? 'this machine';
}
