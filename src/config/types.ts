/** What the rest of the broker receives: parsed, checked, deeply frozen. Units stand in the names. */
import type { VerifierOptions } from '../auth/verifier.ts';
import type { BudgetSettings } from '../broker/drain/budget.ts';
import type { FateSettings } from '../broker/fate/witness.ts';
import type { LogLevel } from '../broker/ports.ts';
import type {
  AbuseSettings,
  Batching,
  ClusterSettings,
  LifecycleSettings,
  Limits,
  NodeIdentity,
  PresenceSettings,
  RoomPolicy,
  StateLimits,
} from '../broker/settings.ts';
import type { TracingSettings } from '../broker/tracing.ts';
import type { UsageSettings } from '../broker/usage.ts';
import type { NatsConfig } from './nats.ts';
import type { TenantsConfig } from './tenants.ts';
import type { TlsConfig } from './tls-schema.ts';
import type { Address } from './units.ts';

export type { TlsConfig } from './tls-schema.ts';
export type { Address } from './units.ts';

/** `keys` is empty in development mode, where the process makes a key of its own, and where others vouch. */
export interface AuthConfig extends VerifierOptions {
  readonly allowQueryToken: boolean;
}

/** What is done about workers that end. */
export interface SupervisorSettings {
  /** The pauses before a worker is started again double from the one to the other. */
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
  /** After so long the next pause is the shortest again. */
  readonly healthyMs: number;
  /** A worker that has not answered for so long is ended. */
  readonly stuckMs: number;
}

export interface Config {
  /** No key configured and a loopback listener: the process makes a key and prints a token. */
  readonly development: boolean;
  readonly listen: Address;
  /** Absent: the public listener speaks plain HTTP. */
  readonly tls?: TlsConfig;
  /** Broker processes on one port; 1: this one, without a supervisor. */
  readonly workers: number | 'auto';
  readonly supervisor: SupervisorSettings;
  readonly admin: { readonly listen: Address; readonly token?: string };
  readonly auth: AuthConfig;
  /** Absent: any Origin. Each is `scheme://host[:port]`, the host may start with `*.`; or `null`. */
  readonly origins?: readonly string[];
  readonly missingOrigin: 'allow' | 'deny';
  /** How many proxies in front may be believed about the client's address. */
  readonly trustedProxies: number;
  readonly rooms: readonly RoomPolicy[];
  readonly limits: Limits;
  /** tokenLifeMs: the longest life of a token; what revokes it is forgotten so long after. */
  readonly revocation: { readonly tokenLifeMs: number };
  readonly abuse: AbuseSettings;
  readonly tenants: TenantsConfig;
  readonly delivery: Batching;
  readonly compression: {
    readonly mode: 'off' | 'unicast';
    readonly thresholdBytes: number;
    readonly maxBytes: number;
    readonly loopLagMs: number;
  };
  /** serverId absent: each start makes one. */
  readonly node: Omit<NodeIdentity, 'serverId'> & { readonly serverId?: string };
  readonly heartbeat: {
    /** uWebSockets.js's idleTimeout: nothing received for this long, rounded to a multiple of 4, ends a connection. */
    readonly idleSeconds: number;
    /** Silence after which uWebSockets.js sends a ping; follows from idleSeconds. */
    readonly pingSeconds: number;
  };
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
  readonly drain: BudgetSettings & { readonly windowMs: number; readonly deadlineMs: number };
  /** repeats: lines per second with the same message and code; 0: all. */
  readonly log: { readonly level: LogLevel; readonly repeats: number };
  readonly page: { readonly enabled: boolean };
  readonly tickets: {
    readonly secrets: readonly string[];
    readonly ttlSeconds: number;
    readonly rotateSeconds: number;
  };
  readonly cluster: ClusterSettings;
  readonly presence: Omit<PresenceSettings, 'messageBytes' | 'heartbeatMs' | 'silenceMs'>;
  /** dir: where the embedded bus keeps the stores through restarts; absent: in memory only. */
  readonly state: StateLimits & { readonly dir?: string };
  readonly api: {
    readonly bodyBytes: number;
    readonly broadcastTargets: number;
    readonly failuresPerMinute: number;
  };
  readonly usage: UsageSettings;
  readonly lifecycle: LifecycleSettings;
  /** Absent: nothing is traced. */
  readonly tracing?: TracingSettings;
  readonly explain: FateSettings;
  readonly readiness: { readonly loopLagMs: number };
  /** Absent: the embedded bus. */
  readonly nats?: NatsConfig;
}

/** One thing wrong with the settings. `value` is never a secret. */
export interface ConfigProblem {
  readonly key: string;
  readonly value: string;
  readonly expected: string;
  readonly fix?: string;
  /** Where it was set: a variable, or the line in the file. */
  readonly source?: string;
}

export interface ConfigInput {
  readonly file?: string;
  /** Takes the place of the file's text. */
  readonly text?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The process's limit of open files, where it is known. */
  readonly openFiles?: number;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };
