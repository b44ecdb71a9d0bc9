import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Store, StoreChange } from '../../../src/broker/cluster.ts';
import { type ClusterUnderTest, type Promised, until } from './subject.ts';

export function storeTests(promised: Promised): void {
  readTests(promised);
  conflictTests(promised);
  expiryTests(promised);
  limitTests(promised);
  modelTest(promised);
  keptTests(promised);
}

async function put(store: Store, key: string, value: unknown, ttlMs?: number): Promise<number> {
  const stored = await store.put(key, value, ttlMs === undefined ? {} : { ttlMs });
  assert.ok(stored.ok, `${key} was not stored: ${JSON.stringify(stored)}`);
  return stored.revision;
}

function values(store: Store): Record<string, unknown> {
  return Object.fromEntries([...store.entries()].map(({ key, value }) => [key, value]));
}

function readTests({ promise }: Promised): void {
  promise('what is stored is there on all nodes, as a copy', async ({ cluster, peer }) => {
    const store = cluster.store('policies');
    assert.equal(store.ready, true);
    assert.equal(cluster.store('policies'), store);
    const value = { rooms: ['é', '\ud83d\ude00'], n: 1.5, none: null };
    const key = 'tenant a/*.>é';
    const revision = await put(store, key, value);
    assert.deepEqual(store.get(key), { key, value, revision });
    value.n = 2;
    assert.equal((store.get(key)?.value as { n?: number } | undefined)?.n, 1.5);
    const there = peer.store('policies');
    await until('the peer has it', () => there.get(key)?.revision === revision, 1000);
    assert.deepEqual([...there.entries()], [{ key, value: { ...value, n: 1.5 }, revision }]);
    assert.equal(cluster.store('bans').size, 0, 'stores are apart');
    assert.ok((await store.delete(key)).ok);
    await until('the peer has forgotten it', () => there.size === 0, 1000);
    assert.equal(store.get(key), undefined);
    assert.ok((await store.delete(key)).ok, 'nothing is there: nothing to do');
  });

  promise('a watch sees every change, with what was before', async ({ cluster, peer }) => {
    const seen: StoreChange[] = [];
    const there = peer.store('a');
    const stop = there.watch((change) => seen.push(change));
    there.watch(() => {
      throw new Error('on purpose');
    });
    const store = cluster.store('a');
    const one = await put(store, 'k', 1);
    await until('put seen', () => seen.length === 1);
    const two = await put(store, 'k', 2);
    await until('change seen', () => seen.length === 2);
    await store.delete('k');
    await until('delete seen', () => seen.length === 3);
    const [first, second] = [
      { key: 'k', value: 1, revision: one },
      { key: 'k', value: 2, revision: two },
    ];
    assert.ok(one < two);
    assert.deepEqual(seen, [
      { key: 'k', entry: first, before: undefined },
      { key: 'k', entry: second, before: first },
      { key: 'k', entry: undefined, before: second },
    ]);
    stop();
    await put(store, 'k', 3);
    await until('there', () => there.size === 1);
    assert.equal(seen.length, 3);
  });
}

function conflictTests({ promise }: Promised): void {
  promise('a change over a revision is made only over that one', async ({ cluster }) => {
    const store = cluster.store('a');
    const conflict = { ok: false, why: 'conflict' };
    assert.deepEqual(await store.put('k', 1, { revision: 5 }), conflict);
    const first = await store.put('k', 1, { revision: 0 });
    assert.ok(first.ok);
    assert.deepEqual(await store.put('k', 2, { revision: 0 }), conflict);
    const second = await store.put('k', 2, { revision: first.revision });
    assert.ok(second.ok);
    assert.deepEqual(await store.put('k', 3, { revision: first.revision }), conflict);
    assert.deepEqual(await store.delete('k', { revision: first.revision }), conflict);
    assert.equal(store.get('k')?.value, 2);
    assert.ok((await store.delete('k', { revision: second.revision })).ok);
    assert.deepEqual(await store.put('k', 4, { revision: second.revision }), conflict);
    assert.ok((await store.put('k', 4, { revision: 0 })).ok, 'a deleted entry is none');
    assert.equal(cluster.figures().writes.conflict, 5);
  });

  promise('of many changes over one revision, one is made', async ({ cluster, peer }) => {
    const [here, there] = [cluster.store('a'), peer.store('a')];
    const revision = await put(here, 'k', 'first');
    await until('both have it', () => there.get('k') !== undefined);
    const stored = await Promise.all(
      Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? here : there).put('k', n, { revision })),
    );
    const winners = stored.flatMap(({ ok }, n) => (ok ? [n] : []));
    assert.equal(winners.length, 1, JSON.stringify(stored));
    const lost = stored.filter((one) => !one.ok && one.why === 'conflict');
    assert.equal(lost.length, 9, JSON.stringify(stored));
    await until(
      'both agree',
      () => there.get('k')?.value === winners[0] && here.get('k')?.value === winners[0],
    );
  });
}

function expiryTests({ promise }: Promised): void {
  promise('what has expired is gone everywhere, and told', async ({ cluster, peer, advance }) => {
    const [here, there] = [cluster.store('a'), peer.store('a')];
    await put(here, 'short', 1, 60_000);
    await put(here, 'long', 2, 120_000);
    await put(here, 'ever', 3);
    await until('all there', () => there.size === 3);
    const gone: string[] = [];
    there.watch(({ key, entry }) => entry ?? gone.push(key));
    advance(59_000);
    assert.deepEqual(values(there), { short: 1, long: 2, ever: 3 });
    advance(1000);
    assert.deepEqual(values(here), { long: 2, ever: 3 }, 'at once, before any timer');
    assert.equal(there.get('short'), undefined);
    await until('told', () => gone.length > 0, 1000);
    assert.ok((await here.put('short', 4, { revision: 0 })).ok, 'an expired entry is none');
    advance(60_000);
    await until('told again', () => gone.length > 1, 1000);
    await until('the rest stays', () => there.get('short')?.value === 4);
    assert.deepEqual(gone, ['short', 'long']);
    assert.deepEqual(values(there), { ever: 3, short: 4 });
  });

  promise('a new value takes the place of the old expiry too', async ({ cluster, advance }) => {
    const store = cluster.store('a');
    await put(store, 'k', 1, 1000);
    await put(store, 'k', 2);
    advance(5000);
    assert.equal(store.get('k')?.value, 2);
    await put(store, 'k', 3, 1000);
    advance(1000);
    assert.equal(store.get('k'), undefined);
  });
}

function limitTests({ promise }: Promised): void {
  promise('keys, values and stores have their limits', async ({ cluster, advance }) => {
    const store = cluster.store('a');
    const tooLarge = { ok: false, why: 'too_large' };
    const full = { ok: false, why: 'full' };
    assert.ok((await store.put('x'.repeat(256), 'x'.repeat(1022))).ok);
    assert.deepEqual(await store.put('x'.repeat(257), 1), tooLarge);
    assert.deepEqual(await store.put('', 1), tooLarge);
    assert.deepEqual(await store.put('k', 'x'.repeat(1023)), tooLarge);
    assert.deepEqual(await store.put('k', 'é'.repeat(600)), tooLarge, 'bytes, not characters');
    assert.deepEqual(await store.delete('x'.repeat(257)), tooLarge);
    for (let n = 0; n < 9; n++) await put(store, `k${n}`, n, 1000);
    assert.deepEqual(await store.put('one more', 1), full);
    assert.ok((await store.put('k1', 2)).ok, 'what is there can change');
    assert.ok((await cluster.store('b').put('k', 1)).ok, 'another store has its own');
    advance(1000);
    assert.ok((await store.put('one more', 1)).ok);
    assert.throws(() => cluster.store('Not a name'), /name/);
    await assert.rejects(store.put('k', undefined), /JSON/);
    await assert.rejects(store.put('k', 1, { ttlMs: 0 }), /ttlMs/);
  });

  promise(
    'the bytes of all stores together have a limit',
    async ({ cluster }) => {
      const [one, other] = [cluster.store('a'), cluster.store('b')];
      const value = 'x'.repeat(898);
      for (let n = 0; n < 5; n++) await put(n % 2 === 0 ? one : other, `k${n}`, value);
      assert.deepEqual(await one.put('k9', value), { ok: false, why: 'full' });
      assert.ok((await other.put('k1', 'short')).ok);
      assert.ok((await one.put('k9', 'x'.repeat(500))).ok);
    },
    { limits: { entries: 100, bytes: 5000, valueBytes: 1024 } },
  );
}

type Op = {
  readonly kind: 'put' | 'create' | 'over' | 'delete' | 'wait';
  readonly key: string;
  readonly n: number;
};
const op: fc.Arbitrary<Op> = fc.record({
  kind: fc.constantFrom('put', 'create', 'over', 'delete', 'wait'),
  key: fc.constantFrom('a', 'b', 'c'),
  n: fc.integer({ min: 1, max: 5 }),
});

/** Against a plain map with expiries. */
function modelTest({ promise }: Promised): void {
  promise(
    'any order of changes gives what a map would, on all nodes',
    async (subject) => {
      let run = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(op, { maxLength: 25 }), (ops) => agrees(subject, ops, `s${run++}`)),
        { numRuns: 25 },
      );
    },
    { limits: { entries: 1000, bytes: 1e6, valueBytes: 1024 } },
  );
}

interface Modelled {
  readonly value: number;
  readonly revision: number;
  readonly until: number;
}

class Model {
  readonly #kept = new Map<string, Modelled>();
  #time = 0;

  wait(ms: number): void {
    this.#time += ms;
    for (const [key, { until }] of this.#kept) if (until <= this.#time) this.#kept.delete(key);
  }

  revision(key: string): number {
    return this.#kept.get(key)?.revision ?? 0;
  }

  put(key: string, value: number, revision: number, ttlMs = Number.POSITIVE_INFINITY): void {
    this.#kept.set(key, { value, revision, until: this.#time + ttlMs });
  }

  delete(key: string): void {
    this.#kept.delete(key);
  }

  get values(): Record<string, unknown> {
    return Object.fromEntries([...this.#kept].map(([key, { value }]) => [key, value]));
  }
}

/** Over which revision; undefined: any. */
function wantedOver({ kind, key }: Op, model: Model): number | undefined {
  if (kind === 'create') return 0;
  return kind === 'over' ? model.revision(key) || 1 : undefined;
}

async function change(store: Store, op: Op, model: Model): Promise<void> {
  const { kind, key, n } = op;
  const revision = wantedOver(op, model);
  const over = revision === undefined ? {} : { revision };
  const ttl = n > 3 ? {} : { ttlMs: n * 2000 };
  const stored = kind === 'delete' ? await store.delete(key) : await store.put(key, n, { ...over, ...ttl });
  assert.equal(stored.ok, revision === undefined || revision === model.revision(key), `${kind} ${key}`);
  if (!stored.ok) return;
  if (kind === 'delete') model.delete(key);
  else model.put(key, n, stored.revision, ttl.ttlMs);
}

async function agrees({ cluster, peer, advance }: ClusterUnderTest, ops: readonly Op[], name: string) {
  const store = cluster.store(name);
  const model = new Model();
  for (const op of ops) {
    if (op.kind === 'wait') {
      model.wait(op.n * 1000);
      advance(op.n * 1000);
    } else await change(store, op, model);
  }
  assert.deepEqual(values(store), model.values);
  await until('the peer agrees', () => isSame(values(peer.store(name)), model.values));
}

function isSame(one: Record<string, unknown>, other: Record<string, unknown>): boolean {
  const plain = (record: Record<string, unknown>) => JSON.stringify(Object.entries(record).sort());
  return plain(one) === plain(other);
}

function keptTests({ promise }: Promised): void {
  promise('what is stored survives a restart, what was to expire meanwhile does not', async (subject) => {
    const { cluster, advance, restart } = subject;
    const store = cluster.store('a');
    await put(store, 'gone', 1, 1000);
    await put(store, 'kept', { deep: [1] });
    await put(store, 'later', 2, 60_000);
    await put(store, 'deleted', 2);
    await store.delete('deleted');
    const revision = store.get('kept')?.revision;
    advance(1000);
    const again = await restart();
    assert.deepEqual(values(again.store('a')), { kept: { deep: [1] }, later: 2 });
    assert.equal(again.store('a').get('kept')?.revision, revision);
    const next = await put(again.store('a'), 'kept', 1);
    assert.ok(next > (revision ?? 0));
    advance(60_000);
    assert.deepEqual(values(again.store('a')), { kept: 1 });
  });

  promise('a node that is closed takes no more', async ({ cluster }) => {
    const store = cluster.store('a');
    await put(store, 'k', 1);
    await cluster.close();
    assert.deepEqual(await store.put('k', 2), { ok: false, why: 'unavailable' });
    assert.equal(store.get('k')?.value, 1);
  });
}
