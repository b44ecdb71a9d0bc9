/**
 * Every setting with its default and its bounds. config/carillon.yaml says the same to people; test/config.test.ts
 * holds the two together.
 */

import { z } from 'zod';
import { LOG_LEVELS } from '../broker/ports.ts';
import { OVERFLOWS } from '../protocol/frames.ts';
import { authSchema } from './identity-schema.ts';
import {
  address,
  choice,
  count,
  duration,
  flag,
  leaf,
  pattern,
  seconds,
  secretText,
  size,
  text,
  VISIBLE,
  workers,
} from './leaves.ts';
import { lifecycleSchema } from './lifecycle.ts';
import { natsSchema } from './nats.ts';

import { roomSchema } from './schema-fields.ts';
import { tenantsSchema } from './tenants.ts';
import { tlsSchema } from './tls-schema.ts';
import { TOKEN_LIFE_DEFAULT } from './token-life.ts';
import { tracingSchema } from './tracing.ts';
import { GIB, KIB, MIB } from './units.ts';

const HOUR_MS = 3_600_000;

/** docs/transport.md, rule 21: uWebSockets.js takes the header from anybody, at any time. */
const NO_PROXY_PROTOCOL =
  'off: a client could send a PROXY header of its own and choose its address; use an HTTP proxy and trustedProxies';

const history = z.strictObject({
  count: count(1, 1_000_000).prefault(200),
  age: duration(1000, 365 * 24 * HOUR_MS).prefault('10m'),
  bytes: size(KIB, GIB).prefault('4MiB'),
});

/** An event has to hold for longer than the next one may take to come. */
const ephemeral = z.strictObject({
  perSecond: count(1, 1000).prefault(10),
  expireMs: duration(2000, HOUR_MS).prefault('5s'),
});

const room = z.strictObject({
  match: pattern(),
  history: history.optional(),
  overflow: choice(OVERFLOWS).optional(),
  cursor: flag().optional(),
  capacity: count(1, 10_000_000).optional(),
  ephemeral: ephemeral.optional(),
  description: text('a text of 1 to 256 characters in one line', /^.{1,256}$/u).optional(),
  batchMs: duration(0, 1000).prefault('0ms'),
  schema: roomSchema.optional(),
});

const operations = z.strictObject({
  perSecond: count(1, 1_000_000_000).prefault(20_000),
  burst: count(1, 1_000_000_000).prefault(60_000),
  refusals: count(1, 1_000_000_000).prefault(1000),
  costPublish: count(0, 1_000_000).prefault(1),
  costJoin: count(0, 1_000_000).prefault(10),
  costLeave: count(0, 1_000_000).prefault(5),
  costHistory: count(0, 1_000_000).prefault(20),
  costPresence: count(0, 1_000_000).prefault(10),
  costRefresh: count(0, 1_000_000).prefault(100),
  costSeen: count(0, 1_000_000).prefault(1),
  costPing: count(0, 1_000_000).prefault(1),
  costAnswerKiB: count(0, 1_000_000).prefault(2),
});

const signals = z.strictObject({
  perSecond: count(1, 1_000_000).prefault(200),
  burst: count(1, 1_000_000).prefault(400),
  entries: count(1, 10_000_000).prefault(100_000),
  bytes: size(KIB, GIB).prefault('16MiB'),
});

const fairness = z.strictObject({
  lagMs: duration(1, 10_000).prefault('50ms'),
  turnCost: size(KIB, GIB).prefault('4MiB'),
  quantum: size(KIB, GIB).prefault('64KiB'),
  queueBytes: size(KIB, GIB).prefault('8MiB'),
});

const addresses = z.strictObject({
  connections: count(0, 10_000_000).prefault(5000),
  attemptsPerSecond: count(0, 1_000_000).prefault(200),
  attemptsBurst: count(1, 10_000_000).prefault(5000),
  entries: count(16, 10_000_000).prefault(100_000),
});

const schemas = z.strictObject({
  bytes: size(KIB, MIB).prefault('64KiB'),
  nodes: count(1, 10_000).prefault(250),
  steps: count(100, 100_000_000).prefault(20_000),
  samples: count(0, 10_000).prefault(20),
  sampleBytes: size(0, KIB).prefault('256'),
  tenants: count(1, 100_000).prefault(500),
});

const limits = z.strictObject({
  rates: flag().prefault(true),
  frameBytes: size(512, 16 * MIB).prefault('128KiB'),
  payloadBytes: size(64, 15 * MIB).prefault('64KiB'),
  depth: count(1, 256).prefault(32),
  keys: count(16, 1_000_000).prefault(1000),
  batch: count(1, 10_000).prefault(256),
  protocolErrors: count(1, 100_000).prefault(50),
  connections: count(0, 10_000_000).prefault(0),
  roomsPerConnection: count(1, 100_000).prefault(1000),
  rooms: count(1, 100_000_000).prefault(1_000_000),
  roomsPerTenant: count(0, 100_000_000).prefault(0),
  plainSockets: count(16, 1_000_000).prefault(500),
  pendingUpgrades: count(1, 1_000_000).prefault(1000),
  upgradeTimeoutMs: duration(100, 60_000).prefault('5s'),
  tenantWaiting: count(0, 1_000_000).prefault(200),
  tenantWaitMs: duration(0, 60_000).prefault('500ms'),
  upgradeTurnMs: duration(1, 1000).prefault('4ms'),
  waitingUpgrades: count(0, 1_000_000).prefault(0),
  turnMessages: count(1, 1_000_000).prefault(512),
  turnBytes: size(KIB, GIB).prefault('256KiB'),
  turnAnswerBytes: size(KIB, GIB).prefault('512KiB'),
  inboundQueueBytes: size(KIB, GIB).prefault('4MiB'),
  bufferedSoftBytes: size(KIB, GIB).prefault('1MiB'),
  bufferedHardBytes: size(KIB, GIB).prefault('4MiB'),
  catchUpBytes: size(KIB, GIB).prefault('256KiB'),
  historyPage: count(1, 100_000).prefault(1000),
  historyPageBytes: size(KIB, GIB).prefault('1MiB'),
  historyTotalBytes: size(MIB, 1024 * GIB).prefault('512MiB'),
  dedupeWindowMs: duration(0, 24 * HOUR_MS).prefault('60s'),
  dedupeEntries: count(0, 100_000_000).prefault(1_000_000),
  dedupeEntriesPerTenant: count(0, 100_000_000).prefault(1_000_000),
  cursors: count(1, 100_000_000).prefault(200_000),
  operations: operations.prefault({}),
  ephemeral: signals.prefault({}),
  fairness: fairness.prefault({}),
  address: addresses.prefault({}),
  schemas: schemas.prefault({}),
});

const abuse = z.strictObject({
  windowMs: duration(1000, HOUR_MS).prefault('1m'),
  userConnects: count(0, 1_000_000).prefault(0),
  addressConnects: count(0, 1_000_000).prefault(0),
  offences: count(0, 1_000_000).prefault(0),
  banMs: duration(1000, 30 * 24 * HOUR_MS).prefault('10m'),
  bansMax: count(1, 1_000_000).prefault(10_000),
  entries: count(16, 10_000_000).prefault(100_000),
  tarpitMs: duration(0, 60_000).prefault('0ms'),
  tarpitMax: count(1, 1_000_000).prefault(1000),
});

const delivery = z.strictObject({
  batchMs: duration(0, 1000).prefault('0ms'),
  batchEvents: count(1, 10_000).prefault(64),
  batchBytes: size(KIB, 16 * MIB).prefault('48KiB'),
});

const compression = z.strictObject({
  mode: choice(['off', 'unicast']).prefault('off'),
  thresholdBytes: size(64, 16 * MIB).prefault('2KiB'),
  maxBytes: size(KIB, 16 * MIB).prefault('192KiB'),
  loopLagMs: duration(1, 60_000).prefault('20ms'),
});

const ORIGIN = /^(?:\*|[a-z][a-z0-9+.-]*:\/\/(?:\*\.)?(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?)$/i;
const SECRET_TEXT = /^[\x21-\x7e]{32,512}$/;

const DEFAULT_ROOMS = [
  { match: 'live:**' },
  { match: '**', history: { count: 200, age: '10m', bytes: '4MiB' }, overflow: 'backfill' as const },
];

export const settingsSchema = z.strictObject({
  listen: address().prefault('127.0.0.1:8080'),
  tls: tlsSchema.optional(),
  workers: workers().prefault(1),
  supervisor: z
    .strictObject({
      restartMinMs: duration(10, 60_000).prefault('500ms'),
      restartMaxMs: duration(100, HOUR_MS).prefault('30s'),
      healthyMs: duration(100, HOUR_MS).prefault('60s'),
      stuckMs: duration(3000, HOUR_MS).prefault('30s'),
    })
    .prefault({}),
  admin: z
    .strictObject({
      listen: address().prefault('127.0.0.1:9090'),
      token: secretText('a text of visible ASCII characters, better 32 or more', VISIBLE).optional(),
      tokenFile: text('the path of a file that holds the token', /^.+$/).optional(),
    })
    .prefault({}),
  auth: authSchema.prefault({}),
  origins: z
    .array(text('an origin such as https://app.example.com or https://*.example.com, without a path', ORIGIN))
    .optional(),
  missingOrigin: choice(['allow', 'deny']).prefault('allow'),
  trustedProxies: count(0, 16).prefault(0),
  proxyProtocol: leaf(NO_PROXY_PROTOCOL, (value) =>
    value === 'off' || value === false ? 'off' : undefined,
  ).prefault('off'),
  rooms: z.array(room).min(1).prefault(DEFAULT_ROOMS),
  limits: limits.prefault({}),
  revocation: z
    .strictObject({ tokenLifeMs: duration(60_000, 3660 * 24 * HOUR_MS).prefault(TOKEN_LIFE_DEFAULT) })
    .prefault({}),
  abuse: abuse.prefault({}),
  tenants: tenantsSchema.prefault({}),
  delivery: delivery.prefault({}),
  compression: compression.prefault({}),
  node: z
    .strictObject({
      serverId: text('1 to 64 characters of [A-Za-z0-9_.-]', /^[A-Za-z0-9_.-]{1,64}$/).optional(),
      region: text('1 to 64 characters of [A-Za-z0-9_.-]', /^[A-Za-z0-9_.-]{1,64}$/).prefault('local'),
    })
    .prefault({}),
  heartbeat: z.strictObject({ idleSeconds: seconds(8, 960).prefault(30) }).prefault({}),
  reconnect: z
    .strictObject({
      minMs: duration(50, 60_000).prefault('500ms'),
      maxMs: duration(100, HOUR_MS).prefault('20s'),
    })
    .prefault({}),
  drain: z
    .strictObject({
      windowMs: duration(0, HOUR_MS).prefault('5s'),
      deadlineMs: duration(100, HOUR_MS).prefault('25s'),
      perSecond: count(1, 1_000_000).prefault(500),
      loopLagMs: duration(1, 60_000).prefault('25ms'),
      awayMs: duration(10, 60_000).prefault('1s'),
    })
    .prefault({}),
  log: z
    .strictObject({ level: choice(LOG_LEVELS).prefault('info'), repeats: count(0, 1_000_000).prefault(20) })
    .prefault({}),
  page: z
    .strictObject({ enabled: choice(['development', true, false]).prefault('development') })
    .prefault({}),
  tickets: z
    .strictObject({
      secrets: z.array(secretText('at least 32 visible ASCII characters', SECRET_TEXT)).prefault([]),
      ttl: seconds(30, 3600).prefault('180s'),
      rotate: seconds(600, 30 * 86_400).prefault('24h'),
    })
    .prefault({}),
  cluster: z
    .strictObject({
      heartbeatMs: duration(100, 60_000).prefault('600ms'),
      missed: count(2, 100).prefault(9),
      messageBytes: size(KIB, 8 * MIB).prefault('256KiB'),
      leaseMs: duration(2000, HOUR_MS).prefault('10s'),
      skewMs: duration(0, 60_000).prefault('1s'),
      skewWarnMs: duration(10, 3_600_000).prefault('1s'),
      askMs: duration(10, 60_000).prefault('500ms'),
    })
    .prefault({}),
  presence: z
    .strictObject({
      batchMs: duration(0, 10_000).prefault('100ms'),
      graceMs: duration(0, 600_000).prefault('5s'),
      drainGraceMs: duration(0, 600_000).prefault('15s'),
      joinWaitMs: duration(0, 10_000).prefault('250ms'),
      digestMs: duration(1000, 24 * HOUR_MS).prefault('5m'),
      fullMembers: count(0, 1_000_000).prefault(1000),
      deltaMembers: count(0, 1_000_000).prefault(5000),
      countMs: duration(1000, 60_000).prefault('1s'),
      sketch: count(64, 65_536).prefault(1024),
      othersNames: count(0, 100_000_000).prefault(1_000_000),
      othersSketches: size(0, 16 * GIB).prefault('64MiB'),
      kept: count(0, 100_000_000).prefault(200_000),
    })
    .prefault({}),
  state: z
    .strictObject({
      dir: text('the path of a folder', /^.+$/).optional(),
      entries: count(1, 1_000_000).prefault(50_000),
      bytes: size(64 * KIB, GIB).prefault('16MiB'),
      valueBytes: size(KIB, MIB).prefault('64KiB'),
    })
    .prefault({}),
  api: z
    .strictObject({
      bodyBytes: size(KIB, 64 * MIB).prefault('1MiB'),
      broadcastTargets: count(1, 100_000).prefault(1000),
      failuresPerMinute: count(1, 1_000_000).prefault(60),
    })
    .prefault({}),
  usage: z
    .strictObject({
      flushMs: duration(1000, 60_000).prefault('5s'),
      age: duration(HOUR_MS, 1000 * 24 * HOUR_MS).prefault('35d'),
      bytes: size(MIB, 1024 * GIB).prefault('256MiB'),
      records: count(1000, 10_000_000).prefault(50_000),
    })
    .prefault({}),
  lifecycle: lifecycleSchema.prefault({}),
  tracing: tracingSchema.optional(),
  explain: z
    .strictObject({
      rooms: count(1, 1_000_000).prefault(1000),
      roomEvents: count(0, 100_000).prefault(512),
      sessionNotes: count(1, 10_000).prefault(64),
      bytes: size(64 * KIB, GIB).prefault('16MiB'),
      keepMs: duration(1000, 24 * HOUR_MS).prefault('15m'),
    })
    .prefault({}),
  readiness: z.strictObject({ loopLagMs: duration(10, 60_000).prefault('500ms') }).prefault({}),
  nats: natsSchema.optional(),
});

/** The settings as the schema reads them: defaults filled in, units resolved, nothing compared with another yet. */
export type Settings = z.output<typeof settingsSchema>;
