/**
 * Nothing that comes and goes leaves anything behind, of whatever class: the brokers are processes of their own, and
 * their heaps are counted before and after.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { HeapInspector, type HeapSnapshot, INSPECTED } from '../../support/heap.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { ADMIN_TOKEN, KINDS } from './churn.ts';

const TIMES = 200;
/** More objects of a class than this are those that came. */
const MOST = TIMES / 2;
const SETTLES_MS = 60_000;

const SETTINGS = {
  admin: { listen: '127.0.0.1:0', token: ADMIN_TOKEN },
  trustedProxies: 1,
  rooms: [
    { match: 'live:**' },
    { match: 'formed:**', schema: { mode: 'enforce', inline: { type: 'string' } } },
    { match: 'state:**', ephemeral: { perSecond: 1, expireMs: '2s' } },
    { match: '**', cursor: true, history: { count: 10, age: '1s', bytes: '64KiB' } },
  ],
  presence: { graceMs: '100ms', drainGraceMs: '100ms' },
  auth: { cacheEntries: 20 },
  abuse: { windowMs: '1s', userConnects: 100_000, addressConnects: 100_000, offences: 100_000 },
  explain: { keepMs: '1s', rooms: 20 },
  limits: { dedupeWindowMs: '1s', cursors: 50, schemas: { samples: 10 } },
  api: { failuresPerMinute: 10_000 },
  usage: { records: 1000 },
  lifecycle: { enabled: true, graceMs: '100ms' },
};

/** Tables that remember for a while, or up to a number, what is gone. What they alone hold is not counted. */
const REMEMBERED = [
  // While a ticket may name the session: tickets.ttl, which is 30 s at least.
  'Resumptions.#former',
  // Three minutes, per tenant; and what is stored of the present one.
  'Ledger.#byTenant',
  'FileUsage.#present',
  // A minute longer than the token could live. What else is stored there (bans, policies) is counted where it is used.
  'Revocations.#tokens',
  'LocalStore.#kept',
  // Up to 10,000 each.
  'Subjects.#known',
  'CachingVerifier.#bad',
];

/** 70 s, and 100,000 rooms: a single node has nobody who asks. */
const REMEMBERED_FOR_OTHERS = 'Occupancy.#former';

for (const bus of ['embedded', 'nats'] as const)
  describe(`on the ${bus} bus`, () => {
    let nats: NatsCluster | undefined;
    const brokers: RunningBroker[] = [];
    let heaps: HeapInspector[] = [];
    let snapshots: HeapSnapshot[] = [];
    let dir = '';
    let held = {};

    before(async () => {
      dir = await mkdtemp(join(tmpdir(), 'carillon-leaks-'));
      if (bus === 'nats') nats = await NatsCluster.start(1);
      const config = {
        ...SETTINGS,
        ...(nats === undefined && { state: { dir } }),
        ...(nats && {
          nats: { url: nats.urls, shards: 1, streamBytes: '64MiB', cursorBytes: '16MiB', lingerMs: '1s' },
        }),
      };
      for (let count = nats === undefined ? 1 : 2; count > 0; count--)
        brokers.push(await startBroker({ config, env: INSPECTED }));
      heaps = await Promise.all(brokers.map((broker) => HeapInspector.open(broker)));
      // The first of each kind brings code and tables that stay.
      for (const churn of Object.values(KINDS)) await times(TIMES / 10, churn);
      await sleep(2000);
      snapshots = await counted();
      held = await heldByNats();
    });

    after(async () => {
      for (const heap of heaps) heap.close();
      await Promise.all(brokers.map((broker) => broker.stop()));
      await nats?.close();
      await rm(dir, { recursive: true });
    });

    const at = (n: number) => brokers[n % brokers.length] as RunningBroker;
    const apart = new Set(bus === 'nats' ? [...REMEMBERED, REMEMBERED_FOR_OTHERS] : REMEMBERED);
    const counted = () => Promise.all(heaps.map((heap) => heap.snapshot(apart)));

    /** What the brokers have of their server. */
    async function heldByNats(): Promise<{ subscriptions?: unknown; consumers?: unknown }> {
      const server = nats?.server(0);
      if (server === undefined) return {};
      const { num_subscriptions: subscriptions } = await server.monitor('/subsz');
      const { consumers } = await server.monitor('/jsz');
      return { subscriptions, consumers };
    }

    /** So many at once as lanes; `n` is new each time, in the warm-up too. */
    let numbers = 0;
    async function times(
      count: number,
      work: (n: number, at: (n: number) => RunningBroker) => Promise<void>,
    ): Promise<void> {
      const first = numbers;
      numbers += count;
      const lane = async (start: number) => {
        for (let n = start; n < first + count; n += 10) await work(n, at);
      };
      await Promise.all(Array.from({ length: 10 }, (_, at) => lane(first + at)));
    }

    /** What there is much more of than before, by broker. */
    function grown(now: readonly HeapSnapshot[]): { kind: string; more: number; index: number }[] {
      return now.flatMap((snapshot, index) => {
        const before = snapshots[index]?.counts() ?? new Map<string, number>();
        return [...snapshot.counts()]
          .map(([kind, count]) => ({ kind, more: count - (before.get(kind) ?? 0), index }))
          .filter(({ more }) => more > MOST);
      });
    }

    async function settled(): Promise<string> {
      for (const until = Date.now() + SETTLES_MS; ; await sleep(2000)) {
        const now = await counted();
        const more = grown(now);
        if (more.length > 0 && Date.now() < until) continue;
        return more
          .map(
            ({ kind, more, index }) => `${more} of ${kind}\n    ${now[index]?.path(kind, snapshots[index])}`,
          )
          .join('\n');
      }
    }

    test('whatever has come and gone, nothing is left of it', async () => {
      for (const churn of Object.values(KINDS)) await times(TIMES, churn);
      const left = await settled();
      assert.ok(left === '', `of ${TIMES} of each kind that came and went are left\n${left}`);
      const now = await heldByNats();
      for (const [what, before] of Object.entries(held))
        assert.ok(
          Number(Reflect.get(now, what)) <= Number(before) + MOST,
          `${what}: ${JSON.stringify({ held, now })}`,
        );
    });
  });
