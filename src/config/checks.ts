/** What no single setting can get wrong: the settings against one another and against the machine. */
import { isShortSecret, SECRET_BYTES_MIN } from '../auth/keys.ts';
import { TENANT_NAME } from '../broker/ports.ts';
import { sketchBytes } from '../broker/presence/teller.ts';
import { pingSeconds } from './heartbeat.ts';
import { checkSecrets, isKeyless } from './identity.ts';
import type { Fault } from './keys.ts';
import type { Settings } from './schema.ts';
import type { TlsConfig } from './tls-schema.ts';
import type { AuthConfig } from './types.ts';
import { isLoopback, showAddress, showSize } from './units.ts';

export interface Machine {
  readonly openFiles: number | undefined;
}

/** Descriptors that are not connections: files, the bus, the admin listener, and what is closing. */
export const SPARE_FILES = 1000;
/** Proxies and load balancers commonly drop a connection after 60 s of silence. */
const PING_BELOW_SECONDS = 60;

/** What was read from files, or stood in the settings. */
export interface Secrets {
  readonly auth: AuthConfig;
  readonly token?: string;
  readonly tls?: TlsConfig;
}

export function checkSettings(settings: Settings, auth: AuthConfig, machine: Machine): Fault[] {
  return [
    ...checkListeners(settings),
    ...checkWorkers(settings),
    ...checkSecrets(settings, auth),
    ...checkSizes(settings),
    ...checkCompression(settings),
    ...checkTimes(settings),
    ...checkState(settings),
    ...checkPresence(settings),
    ...checkLifecycle(settings),
    ...checkRooms(settings),
    ...checkTenants(settings),
    ...checkMachine(settings, machine),
  ];
}

function checkListeners(settings: Settings): Fault[] {
  const faults: Fault[] = [];
  const { listen, admin } = settings;
  if (isKeyless(settings.auth) && !isLoopback(listen.host)) {
    faults.push({
      path: ['auth', 'keys'],
      value: '(none)',
      expected: `at least one key, since ${showAddress(listen)} can be reached from other machines`,
      fix: 'set auth.keys or CARILLON_JWT_SECRET, or listen on 127.0.0.1 for development',
    });
  }
  if (listen.port !== 0 && listen.port === admin.listen.port && listen.host === admin.listen.host) {
    faults.push({
      path: ['admin', 'listen'],
      value: showAddress(admin.listen),
      expected: 'an address other than that of listen: the admin API is never on the public port',
    });
  }
  return faults;
}
/** With what is added for each worker it has to be a name of a node still. */
const SERVER_ID_MAX = 60;

function checkWorkers({ workers, supervisor, node, nats }: Settings): Fault[] {
  const faults: Fault[] = [];
  if (workers !== 1 && nats === undefined) {
    faults.push({
      path: ['workers'],
      value: String(workers),
      expected:
        '1, or NATS for several workers to share their rooms through. On this machine that is one command, ' +
        '`nats-server -js -a 127.0.0.1`, and the setting nats.url (CARILLON_NATS_URL=nats://127.0.0.1:4222)',
    });
  }
  if (supervisor.restartMinMs > supervisor.restartMaxMs) {
    faults.push({
      path: ['supervisor', 'restartMinMs'],
      value: String(supervisor.restartMinMs),
      expected: 'at most supervisor.restartMaxMs',
    });
  }
  if (workers !== 1 && (node.serverId?.length ?? 0) > SERVER_ID_MAX) {
    faults.push({
      path: ['node', 'serverId'],
      value: JSON.stringify(node.serverId),
      expected: `at most ${SERVER_ID_MAX} characters: with several workers each adds its number`,
    });
  }
  return faults;
}

type LimitName = Exclude<
  keyof Settings['limits'],
  'operations' | 'ephemeral' | 'fairness' | 'address' | 'schemas'
>;

/** What has to be below what, and why. Sizes in bytes. */
const ORDERED: readonly (readonly [LimitName, LimitName, string])[] = [
  ['payloadBytes', 'frameBytes', 'a frame holds its payload and more'],
  ['frameBytes', 'inboundQueueBytes', 'one frame must fit into the queue'],
  ['bufferedSoftBytes', 'bufferedHardBytes', 'a slow reader must be found before its bytes are dropped'],
  ['payloadBytes', 'bufferedSoftBytes', 'one event must not make its reader a slow one'],
  ['payloadBytes', 'historyPageBytes', 'one event must fit into a page'],
  ['catchUpBytes', 'bufferedHardBytes', 'replay must not run into the hard limit'],
  ['historyPageBytes', 'bufferedHardBytes', 'a page must not run into the hard limit'],
];

function checkSizes({ limits, delivery }: Settings): Fault[] {
  const faults = ORDERED.filter(([low, high]) => limits[low] >= limits[high]).map(([low, high, why]) => ({
    path: ['limits', low],
    value: showSize(Number(limits[low])),
    expected: `less than limits.${high} (${showSize(Number(limits[high]))}): ${why}`,
  }));
  if (delivery.batchBytes < limits.bufferedSoftBytes) return faults;
  return [
    ...faults,
    {
      path: ['delivery', 'batchBytes'],
      value: showSize(delivery.batchBytes),
      expected: `less than limits.bufferedSoftBytes (${showSize(limits.bufferedSoftBytes)}): one array must not make its reader a slow one`,
    },
  ];
}

function checkCompression({ compression: { thresholdBytes, maxBytes } }: Settings): Fault[] {
  if (thresholdBytes <= maxBytes) return [];
  const expected = `at most compression.maxBytes (${showSize(maxBytes)})`;
  return [{ path: ['compression', 'thresholdBytes'], value: showSize(thresholdBytes), expected }];
}

function checkTimes({ heartbeat, reconnect, drain }: Settings): Fault[] {
  const faults: Fault[] = [];
  const ping = pingSeconds(heartbeat.idleSeconds);
  if (ping >= PING_BELOW_SECONDS) {
    faults.push({
      path: ['heartbeat', 'idleSeconds'],
      value: String(heartbeat.idleSeconds),
      expected: `a value with pings less than ${PING_BELOW_SECONDS} s apart (this one: ${ping} s), since proxies drop silent connections`,
      fix: 'use 72 or less',
    });
  }
  if (reconnect.minMs > reconnect.maxMs) {
    faults.push({
      path: ['reconnect', 'minMs'],
      value: String(reconnect.minMs),
      expected: 'at most reconnect.maxMs',
    });
  }
  if (drain.windowMs >= drain.deadlineMs) {
    faults.push({
      path: ['drain', 'windowMs'],
      value: String(drain.windowMs),
      expected: 'less than drain.deadlineMs',
    });
  }
  return faults;
}

function checkState({ state, nats }: Settings): Fault[] {
  const faults: Fault[] = [];
  if (state.dir !== undefined && nats !== undefined) {
    faults.push({
      path: ['state', 'dir'],
      value: state.dir,
      expected: 'nothing, since nats is set: the stores of several nodes are kept by NATS',
    });
  }
  if (state.valueBytes > state.bytes) {
    faults.push({
      path: ['state', 'valueBytes'],
      value: showSize(state.valueBytes),
      expected: `at most state.bytes (${showSize(state.bytes)})`,
    });
  }
  return faults;
}

function checkPresence({ presence: { sketch }, cluster: { messageBytes } }: Settings): Fault[] {
  const bytes = sketchBytes(sketch);
  if (bytes <= messageBytes) return [];
  return [
    {
      path: ['presence', 'sketch'],
      value: String(sketch),
      expected: `what fits into cluster.messageBytes (${showSize(messageBytes)}): it takes ${bytes} bytes`,
    },
  ];
}

function checkLifecycle({ lifecycle, state, nats }: Settings): Fault[] {
  const faults: Fault[] = [];
  if (lifecycle.enabled && nats === undefined && state.dir === undefined && lifecycle.webhook === undefined) {
    faults.push({
      path: ['lifecycle', 'enabled'],
      value: 'true',
      expected: 'a place for the events',
      fix: 'set state.dir, where a file is kept, or nats, or lifecycle.webhook',
    });
  }
  const { retryMinMs = 0, retryMaxMs = 0 } = lifecycle.webhook ?? {};
  if (retryMinMs > retryMaxMs) {
    faults.push({
      path: ['lifecycle', 'webhook', 'retryMinMs'],
      value: String(retryMinMs),
      expected: 'at most lifecycle.webhook.retryMaxMs',
    });
  }
  return faults;
}

function checkRooms({ rooms, limits }: Settings): Fault[] {
  const all = rooms.findIndex((room) => room.match === '**');
  return rooms.flatMap((room, at) => {
    const path = ['rooms', at];
    const value = JSON.stringify(room.match);
    const faults: Fault[] = [];
    if (all >= 0 && at > all) {
      faults.push({ path: [...path, 'match'], value, expected: 'a place before "**": the first match wins' });
    } else if (rooms.findIndex((other) => other.match === room.match) < at) {
      faults.push({ path: [...path, 'match'], value, expected: 'each pattern once: the first match wins' });
    }
    if (room.history === undefined && room.overflow === 'backfill') {
      faults.push({
        path: [...path, 'overflow'],
        value: '"backfill"',
        expected: 'latest, skip or close: no history, nothing to fill from',
      });
    }
    if (room.history && room.history.bytes > limits.historyTotalBytes) {
      faults.push({
        path: [...path, 'history', 'bytes'],
        value: showSize(room.history.bytes),
        expected: 'at most limits.historyTotalBytes',
      });
    }
    return faults;
  });
}

function checkTenants({ tenants, limits }: Settings): Fault[] {
  const faults: Fault[] = [];
  for (const name of Object.keys(tenants)) {
    if (!TENANT_NAME.test(name))
      faults.push({
        path: ['tenants', name],
        value: JSON.stringify(name.slice(0, 80)),
        expected: 'a name of the form [A-Za-z0-9_.-]{1,64}, as the tenant claim has it',
      });
  }
  const { operations } = limits;
  for (const [name, cost] of Object.entries(operations)) {
    if (name.startsWith('cost') && cost > operations.burst)
      faults.push({
        path: ['limits', 'operations', name],
        value: String(cost),
        expected: `at most limits.operations.burst (${operations.burst})`,
      });
  }
  return faults;
}

function checkMachine({ limits }: Settings, { openFiles }: Machine): Fault[] {
  if (openFiles === undefined) return [];
  const most = openFiles - SPARE_FILES;
  const fix = `raise the limit of open files (ulimit -n), now ${openFiles}: docs/operations/kernel.md`;
  if (most < 1) {
    return [
      {
        path: ['limits', 'connections'],
        value: String(limits.connections),
        expected: `${SPARE_FILES} open files beside the connections`,
        fix,
      },
    ];
  }
  if (limits.connections <= most) return [];
  return [
    {
      path: ['limits', 'connections'],
      value: String(limits.connections),
      expected: `at most ${most}, or 0 for that`,
      fix,
    },
  ];
}

/** What works, but is worth a line in the log. */
export function warningsFor(settings: Settings, { auth, token }: Secrets, machine: Machine): string[] {
  const { limits } = settings;
  const keys = [auth, ...auth.issuers].flatMap((issuer) => issuer.keys);
  const found: readonly (readonly [boolean, string])[] = [
    [keys.some(isShortSecret), `an HS256 secret has fewer than ${SECRET_BYTES_MIN} bytes: it can be guessed`],
    [
      settings.nats?.coreOnly === true &&
        settings.tickets.secrets.length === 0 &&
        !auth.keys.some((key) => key.secret),
      'tickets.secrets is empty, nats.coreOnly leaves no store to share a key through, and there is no shared secret to make one from: tickets are good on their own node only',
    ],
    [!limits.rates, 'limits.rates is off: rate limits and per-turn budgets are not enforced'],
    [auth.allowQueryToken, 'auth.allowQueryToken is on: tokens in URLs end up in the logs of proxies'],
    [
      settings.auth.insecureHttp,
      'auth.insecureHttp is on: who can change what plain HTTP brings can let anybody in',
    ],
    [!auth.requireExp, 'auth.requireExp is off: tokens without exp last for revocation.tokenLifeMs'],
    [
      !auth.requireIat,
      'auth.requireIat is off: of tokens without iat nobody knows how old they are, and some outlive their revocation',
    ],
    [token !== undefined && token.length < 16, 'admin.token is short: use 32 random characters or more'],
    [
      machine.openFiles === undefined && limits.connections === 0,
      `the limit of open files is not known: limits.connections is ${UNKNOWN_CONNECTIONS}`,
    ],
    [
      machine.openFiles !== undefined && machine.openFiles < 2 * SPARE_FILES,
      `the limit of open files is ${machine.openFiles}: raise it (ulimit -n) for more connections: docs/operations/kernel.md`,
    ],
  ];
  return found.filter(([applies]) => applies).map(([, text]) => text);
}

/** limits.connections: 0, where the limit of open files cannot be read. */
export const UNKNOWN_CONNECTIONS = 10_000;
