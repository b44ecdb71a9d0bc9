/** The `nats` section: the same settings as the bus takes them, in src/bus/nats/options.ts, with the same defaults. */
import { z } from 'zod';
import { count, duration, flag, leaf, SECRET, secretText, size, text } from './leaves.ts';
import { GIB, MIB } from './units.ts';

const NATS_URL = /^(?:nats|tls):\/\/(?:[^\s/@]+@)?(?:[^\s/@:[\]]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?\/?$/;
const FILE = /^.+$/;
const VISIBLE = /^[\x21-\x7e]+$/;

/** One URL, several in one text with commas between them (as in a variable), or a list. */
const servers = leaf(
  'a URL such as nats://127.0.0.1:4222 or tls://host:4222, or several',
  (value) => {
    const urls = (Array.isArray(value) ? value : String(value ?? '').split(',')).map((url) =>
      String(url).trim(),
    );
    return urls.length > 0 && urls.every((url) => NATS_URL.test(url)) ? urls : undefined;
  },
  { type: ['string', 'array'] },
  SECRET.secret,
);

/** A replica count as YAML or a variable has it. */
const replicas = leaf(
  "'auto', 1, 3 or 5",
  (value) => {
    if (value === 'auto') return 'auto' as const;
    const copies = Number(value);
    return copies === 1 || copies === 3 || copies === 5 ? copies : undefined;
  },
  { enum: ['auto', 1, 3, 5, '1', '3', '5'] },
);

export const natsSchema = z.strictObject({
  url: servers,
  user: text('a user name', VISIBLE).optional(),
  password: secretText('a password', VISIBLE).optional(),
  token: secretText('a token', VISIBLE).optional(),
  nkeySeed: secretText('an nkey seed (SU...)', VISIBLE).optional(),
  nkeySeedFile: text('the path of a file', FILE).optional(),
  credsFile: text('the path of a file', FILE).optional(),
  tls: z
    .strictObject({
      caFile: text('the path of a file', FILE).optional(),
      certFile: text('the path of a file', FILE).optional(),
      keyFile: text('the path of a file', FILE).optional(),
      handshakeFirst: flag().optional(),
    })
    .optional(),
  prefix: text('1 to 32 characters of [a-z0-9_-]', /^[a-z0-9_-]{1,32}$/).prefault('carillon'),
  shards: count(1, 64).prefault(8),
  replicas: replicas.prefault('auto'),
  manageStreams: flag().prefault(true),
  coreOnly: flag().prefault(false),
  discover: flag().prefault(true),
  streamBytes: size(16 * MIB, 1024 * GIB).prefault('512MiB'),
  cursorBytes: size(MIB, 1024 * GIB).prefault('256MiB'),
  cursorAgeMs: duration(3_600_000, 10 * 365 * 24 * 3_600_000).prefault('90d'),
  cursorWriteMs: duration(10, 60_000).prefault('1s'),
  cursorWritesPerSecond: count(10, 1_000_000).prefault(5000),
  connectTimeoutMs: duration(100, 60_000).prefault('2s'),
  startTimeoutMs: duration(1000, 600_000).prefault('30s'),
  pingIntervalMs: duration(500, 120_000).prefault('2s'),
  window: count(1, 4096).prefault(512),
  queue: count(1, 10_000_000).prefault(20_000),
  queueBytes: size(MIB, GIB).prefault('64MiB'),
  ackTimeoutMs: duration(100, 60_000).prefault('2s'),
  publishTimeoutMs: duration(1000, 600_000).prefault('15s'),
  openTimeoutMs: duration(1000, 600_000).prefault('10s'),
  lingerMs: duration(0, 3_600_000).prefault('30s'),
  readsPerShard: count(1, 64).prefault(2),
  sweepFrom: count(1, 1_000_000).prefault(35),
  auditEveryMs: duration(500, 600_000).prefault('8s'),
  loopLagMs: duration(100, 60_000).prefault('2s'),
});

/** As read; `buildNats` makes what the bus takes of it. */
export type NatsSettings = z.output<typeof natsSchema>;

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Present<T>;
}

export function buildNats(settings: NatsSettings) {
  const { url, user, password, token, nkeySeed, nkeySeedFile, credsFile, tls, ...rest } = settings;
  return {
    servers: url,
    credentials: present({ user, password, token, nkeySeed, nkeySeedFile, credsFile }),
    ...(tls !== undefined && { tls: present(tls) }),
    ...rest,
  };
}

export type NatsConfig = ReturnType<typeof buildNats>;
