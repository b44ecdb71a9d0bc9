/** What one node does for the admin calls of the whole installation: the answers to their questions. */
import type { Cancel, Cluster } from '../cluster.ts';
import type { DrainProgress } from '../drain/drain.ts';
import type { FateQuestion, NodeFate } from '../fate/fates.ts';
import type { Violation } from '../schema/samples.ts';
import type { Difference } from '../settings-agreement.ts';
import { type ConnectionPage, type ConnectionQuery, listConnections } from './connections.ts';
import { closeRoom, kick, type Selector } from './removal.ts';
import { type RoomInfo, type RoomQuery, topRooms } from './rooms.ts';
import { type NodeStats, Stats } from './stats.ts';
import type { NodeView } from './view.ts';

export interface NodeKeys {
  readonly node: string;
  readonly issuers: readonly object[];
}

export interface NodeDrainProgress extends DrainProgress {
  readonly node: string;
}

export interface DrainQuestion {
  readonly reason: string;
  readonly deadlineMs?: number | undefined;
  /** With it all other nodes of its machine: workers of one supervisor. */
  readonly machine?: boolean;
}

/** Questions and answers by topic. */
export interface Questions {
  readonly 'admin.stats': [Record<string, never>, NodeStats];
  readonly 'admin.connections': [ConnectionQuery, ConnectionPage];
  readonly 'admin.rooms': [RoomQuery, readonly RoomInfo[]];
  readonly 'admin.kick': [Selector & { readonly reason: string }, number];
  readonly 'admin.close-room': [
    { readonly tenant: string; readonly room: string; readonly reason: string },
    number,
  ];
  readonly 'admin.drain': [DrainQuestion, boolean];
  readonly 'admin.drain-progress': [Record<string, never>, NodeDrainProgress];
  readonly 'tenant.broadcast': [
    { readonly tenant: string; readonly payload: string; readonly from: string },
    number,
  ];
  readonly 'tenant.message': [
    {
      readonly tenant: string;
      readonly sessions: readonly string[];
      readonly payload: string;
      readonly from: string;
    },
    number,
  ];
  readonly 'admin.schema-violations': [
    { readonly tenant?: string | undefined; readonly limit: number },
    readonly Violation[],
  ];
  readonly 'admin.message-fate': [FateQuestion, NodeFate];
  readonly 'admin.log-level': [{ readonly level: string; readonly tenant?: string | undefined }, boolean];
  readonly 'admin.keys': [{ readonly refresh: boolean }, NodeKeys];
  readonly 'admin.diagnostics': [Record<string, never>, object];
}

type Handlers = {
  readonly [T in keyof Questions]: (question: Questions[T][0]) => Questions[T][1] | Promise<Questions[T][1]>;
};

export interface NodeOperations {
  /** Begins a drain; false: one is under way. `machine`: of all nodes of this machine. */
  drain(reason: string, deadlineMs: number | undefined, machine: boolean): boolean;
  drainProgress(): NodeDrainProgress;
  /** `default`: as the settings say, or for a tenant as all others. */
  setLogLevel(level: string, tenant: string | undefined): void;
  /** What other nodes have set otherwise. */
  differences(): readonly Difference[];
  diagnostics(): object;
  keys(refresh: boolean): Promise<NodeKeys>;
}

export class NodeAdmin {
  readonly #stats: Stats;
  readonly #cancels: readonly Cancel[];

  constructor(cluster: Cluster, view: NodeView, operations: NodeOperations) {
    const stats = new Stats(view, cluster.node);
    this.#stats = stats;
    const handlers: Handlers = {
      'admin.stats': () => stats.read(operations.differences()),
      'admin.connections': (query) => listConnections(view, query, cluster.node),
      'admin.rooms': (query) => topRooms(view, query),
      'admin.kick': ({ reason, ...selector }) => kick(view, selector, reason),
      'admin.close-room': ({ tenant, room, reason }) => closeRoom(view, tenant, room, reason),
      'admin.drain': ({ reason, deadlineMs, machine = false }) =>
        operations.drain(reason, deadlineMs, machine),
      'admin.drain-progress': () => operations.drainProgress(),
      'tenant.broadcast': ({ tenant, payload, from }) => view.backend.broadcast(tenant, payload, from),
      'tenant.message': ({ tenant, sessions, payload, from }) =>
        view.backend.message(tenant, sessions, payload, from),
      'admin.keys': ({ refresh }) => operations.keys(refresh),
      'admin.diagnostics': () => operations.diagnostics(),
      'admin.schema-violations': ({ tenant, limit }) => view.violations.list(tenant, limit),
      'admin.message-fate': (question) => view.fates.here(question, cluster.node),
      'admin.log-level': ({ level, tenant }) => {
        operations.setLogLevel(level, tenant);
        return true;
      },
    };
    this.#cancels = Object.entries(handlers).map(([topic, handler]) =>
      cluster.answer(topic, handler as (question: unknown) => unknown),
    );
  }

  /** To be called about once a second. */
  tick(): void {
    this.#stats.tick();
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }
}

/** How long a node may take to answer before it is named as missing. */
export const PATIENCE_MS = 2000;

/** Of what each node has counted. */
export const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);

export interface Gathered<T> {
  readonly answers: readonly T[];
  /** Nodes that have not answered. */
  readonly missing: readonly string[];
}

/** Asks all nodes, this one included. */
export async function askAll<T extends keyof Questions>(
  cluster: Cluster,
  topic: T,
  question: Questions[T][0],
): Promise<Gathered<Questions[T][1]>> {
  const { answers, missing } = await cluster.ask(topic, question, PATIENCE_MS);
  return { answers: [...answers.values()] as Questions[T][1][], missing };
}
