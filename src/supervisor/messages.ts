/** What the supervisor and a worker say over the channel that Node gives a child. */
import type { Readiness } from '../ops/health.ts';
import type { Readings } from '../ops/instruments.ts';

/** The first message: what this worker is. */
export interface Begin {
  readonly type: 'begin';
  readonly number: number;
  /** `node.serverId` of each worker, in the order of their numbers. */
  readonly nodes: readonly string[];
  /** The public port: that of the settings, or the one that the first worker was given for 0. */
  readonly port: number;
  /** The key of the development mode, which all workers have in common. */
  readonly development?: Uint8Array | undefined;
}

/** A request of the admin API, without its functions. */
export interface PlainRequest {
  readonly method: string;
  readonly path: string;
  readonly queries: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly address: string;
  /** undefined: it was too long. */
  readonly body: Uint8Array | undefined;
}

export interface PlainAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

/** All workers of the machine are to drain. */
export interface Leaving {
  readonly reason: string;
  /** undefined: `drain.deadlineMs`. */
  readonly deadlineMs: number | undefined;
}

/** Questions to a worker, and their answers. */
export interface Questions {
  readonly readiness: [null, Readiness];
  readonly metrics: [null, Readings];
  /** null: there is nothing at this path. */
  readonly web: [PlainRequest, PlainAnswer | null];
}

export type ToWorker =
  | Begin
  | { readonly type: 'ask'; readonly id: number; readonly what: keyof Questions; readonly question: unknown }
  | { readonly type: 'stop'; readonly fast: boolean }
  | ({ readonly type: 'drain' } & Leaving);

export type FromWorker =
  | { readonly type: 'listening'; readonly listen: string }
  | ({ readonly type: 'leaving' } & Leaving)
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown };
