/** Checked settings to what the parts of the broker receive. */
import type { SchemaLimits } from '../broker/schema/schema.ts';
import type { Limits, RoomPolicy } from '../broker/settings.ts';
import { compilePattern } from '../protocol/room.ts';
import { type Machine, type Secrets, SPARE_FILES, UNKNOWN_CONNECTIONS } from './checks.ts';
import { pingSeconds } from './heartbeat.ts';
import { isKeyless } from './identity.ts';
import { buildLifecycle } from './lifecycle.ts';
import { buildNats } from './nats.ts';
import type { Settings } from './schema.ts';
import { roomSchemaOf } from './schema-fields.ts';
import { buildTenants } from './tenants.ts';
import { buildTracing } from './tracing.ts';
import type { Config } from './types.ts';

export interface Surroundings extends Machine {
  readonly version: string;
}

export function buildConfig(settings: Settings, { auth, token, tls }: Secrets, around: Surroundings): Config {
  const { listen, missingOrigin, trustedProxies, reconnect, drain, log, usage } = settings;
  const development = isKeyless(settings.auth);
  const ping = pingSeconds(settings.heartbeat.idleSeconds);
  const { enabled } = settings.page;
  const config: Config = defined({
    development,
    listen,
    tls,
    workers: settings.workers,
    supervisor: settings.supervisor,
    admin: defined({ listen: settings.admin.listen, token }),
    auth,
    origins: settings.origins?.map(plainOrigin),
    missingOrigin,
    trustedProxies,
    rooms: settings.rooms.map((room) => roomPolicy(room, settings.limits.schemas)),
    limits: buildLimits(settings, around),
    revocation: settings.revocation,
    abuse: settings.abuse,
    tenants: buildTenants(settings.tenants, settings.limits.schemas),
    delivery: settings.delivery,
    compression: settings.compression,
    node: defined({ ...settings.node, version: around.version, heartbeatSeconds: ping, reconnect }),
    heartbeat: { ...settings.heartbeat, pingSeconds: ping },
    reconnect,
    drain,
    log,
    page: { enabled: enabled === 'development' ? development : enabled },
    tickets: {
      secrets: settings.tickets.secrets,
      ttlSeconds: settings.tickets.ttl,
      rotateSeconds: settings.tickets.rotate,
    },
    cluster: settings.cluster,
    presence: settings.presence,
    state: defined(settings.state),
    api: settings.api,
    usage: { flushMs: usage.flushMs, ageMs: usage.age, bytes: usage.bytes, records: usage.records },
    lifecycle: buildLifecycle(settings.lifecycle),
    tracing: settings.tracing && buildTracing(settings.tracing),
    explain: settings.explain,
    readiness: settings.readiness,
    nats: settings.nats && buildNats(settings.nats),
  });
  return deepFreeze(config);
}

function buildLimits(settings: Settings, { openFiles }: Machine): Limits {
  const automatic = openFiles === undefined ? UNKNOWN_CONNECTIONS : openFiles - SPARE_FILES;
  const { connections, attemptsPerSecond, attemptsBurst, entries } = settings.limits.address;
  return {
    ...settings.limits,
    connections: settings.limits.connections || automatic,
    address: { connections, attempts: { perSecond: attemptsPerSecond, burst: attemptsBurst }, entries },
  };
}

function roomPolicy(room: Settings['rooms'][number], limits: SchemaLimits): RoomPolicy {
  const common = {
    match: room.match,
    matches: compilePattern(room.match),
    ...(room.cursor !== undefined && { cursor: room.cursor }),
    ...(room.capacity !== undefined && { capacity: room.capacity }),
    ...(room.ephemeral !== undefined && { ephemeral: room.ephemeral }),
    ...(room.description !== undefined && { description: room.description }),
    ...(room.schema !== undefined && { schema: roomSchemaOf(room.match, room.schema, limits) }),
    ...(room.batchMs > 0 && { batchMs: room.batchMs }),
  };
  if (room.history === undefined) return { ...common, overflow: room.overflow ?? 'skip' };
  const { count, bytes, age } = room.history;
  return { ...common, history: { count, bytes, ageMs: age }, overflow: room.overflow ?? 'backfill' };
}

const DEFAULT_PORTS: ReadonlyMap<string, string> = new Map([
  ['http', ':80'],
  ['https', ':443'],
]);

/** As browsers send it: lower case, without the scheme's own port. */
function plainOrigin(origin: string): string {
  const lower = origin.toLowerCase();
  const port = DEFAULT_PORTS.get(lower.slice(0, lower.indexOf(':')));
  return port !== undefined && lower.endsWith(port) ? lower.slice(0, -port.length) : lower;
}

type OptionalKey<T> = { [K in keyof T]-?: undefined extends T[K] ? K : never }[keyof T];
type Defined<T> = Omit<T, OptionalKey<T>> & { [K in OptionalKey<T>]?: Exclude<T[K], undefined> };

/** The types say `key?: T`: a key with nothing in it must not be there. */
function defined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, child]) => child !== undefined)) as Defined<T>;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
