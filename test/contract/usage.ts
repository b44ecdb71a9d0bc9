/** What every store of the usage promises. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Ledger, type Usage } from '../../src/broker/ledger.ts';
import {
  type Report,
  STEPS,
  UsageBook,
  type UsageQuery,
  type UsageRecord,
  type UsageSettings,
  type UsageStore,
} from '../../src/broker/usage.ts';
import { QUIET } from '../support/log.ts';

export const USAGE: UsageSettings = { flushMs: 5000, ageMs: 35 * STEPS.day, bytes: 2 ** 20, records: 1000 };

/** The present minute, and one that is over. */
export const NOW = Math.floor(Date.now() / STEPS.minute) * STEPS.minute;
const THEN = NOW - STEPS.minute;

export interface UsageSubject {
  /** Of another run of the node, or of another node where they share a store. Not started. */
  store(node: string, incarnation: string): UsageStore;
  close(): Promise<void>;
}

export interface UsageTraits {
  /** Whether what one run has stored the next can read. */
  readonly lasting: boolean;
}

export function record(counts: Partial<UsageRecord> = {}): UsageRecord {
  return {
    tenant: 'acme',
    minute: THEN,
    node: 'n1',
    incarnation: 'r1',
    messagesIn: 1,
    deliveries: 2,
    bytesIn: 3,
    bytesOut: 4,
    payloadBytes: 5,
    durableBytes: 6,
    ephemeralIn: 8,
    ephemeralDeliveries: 9,
    connectionMs: 7,
    ...counts,
  };
}

export async function all(store: UsageStore, query: Partial<UsageQuery> = {}): Promise<UsageRecord[]> {
  const found: UsageRecord[] = [];
  const read = await store.read({ from: 0, to: NOW + STEPS.hour, ...query }, (one) => {
    found.push(one);
    return true;
  });
  assert.ok(read);
  return found;
}

export function book(
  store: UsageStore,
  clock: { now(): number },
  incarnation = 'r1',
): { ledger: Ledger; book: UsageBook } {
  const ledger = new Ledger();
  return {
    ledger,
    book: new UsageBook({ ledger, store, node: 'n1', incarnation, settings: USAGE, clock, log: QUIET }),
  };
}

export function publishes(usage: Usage, count: number): void {
  for (let each = 0; each < count; each++) usage.took(10, true);
}

export function rows(report: Report) {
  assert.ok(report.ok);
  return report.rows;
}

export function usageContract(
  name: string,
  make: () => Promise<UsageSubject>,
  { lasting }: UsageTraits,
): void {
  describe(`usage: ${name}`, () => {
    let subject: UsageSubject;
    let runs = 0;
    before(async () => {
      subject = await make();
    });
    after(() => subject.close());

    async function started(incarnation = `r${++runs}`): Promise<UsageStore> {
      const store = subject.store('n1', incarnation);
      await store.start();
      return store;
    }

    test('what was kept is read, by tenant and time', async () => {
      const store = await started();
      const mine = [
        record({ tenant: 'one' }),
        record({ tenant: 'one', minute: THEN - STEPS.minute, messagesIn: 9 }),
      ];
      assert.ok(await store.keep([...mine, record({ tenant: 'other' })]));
      const byMinute = (a: UsageRecord, b: UsageRecord) => b.minute - a.minute;
      assert.deepEqual((await all(store, { tenant: 'one' })).sort(byMinute), mine);
      assert.deepEqual(await all(store, { tenant: 'one', from: THEN }), [mine[0]]);
      assert.deepEqual(await all(store, { tenant: 'one', to: THEN }), [mine[1]]);
      assert.deepEqual(await all(store, { tenant: 'nobody' }), []);
      assert.equal((await all(store, { from: THEN })).filter(({ tenant }) => tenant === 'other').length, 1);
      await store.close();
    });

    test('what is stored a second time counts once, and of two copies the fuller one', async () => {
      const store = await started();
      const one = record({ tenant: 'twice', messagesIn: 3 });
      await store.journal([record({ tenant: 'twice', messagesIn: 2 })]);
      await store.keep([one]);
      await store.keep([one]);
      const { book: reader } = book(store, { now: () => NOW });
      const found = rows(await reader.report({ tenant: 'twice', from: THEN, to: NOW }, 'minute'));
      assert.deepEqual(
        found.map(({ messagesIn, at }) => [messagesIn, at]),
        [[3, THEN]],
      );
      await store.close();
    });

    test('the journal is read with the records, and the next takes its place', async () => {
      const store = await started();
      const counts = async () => (await all(store, { tenant: 'now' })).map(({ messagesIn }) => messagesIn);
      await store.journal([record({ tenant: 'now', minute: NOW, messagesIn: 1 })]);
      assert.deepEqual(await counts(), [1]);
      await store.journal([record({ tenant: 'now', minute: NOW, messagesIn: 2 })]);
      assert.deepEqual(await counts(), [2]);
      await store.journal([]);
      assert.deepEqual(await counts(), []);
      await store.close();
    });

    test('a journal of more tenants than one message holds', async () => {
      const store = await started();
      const many = (count: number) =>
        Array.from({ length: count }, (_, at) => record({ tenant: `many${at}`, minute: NOW }));
      const count = async () => (await all(store)).filter(({ tenant }) => tenant.startsWith('many')).length;
      await store.journal(many(450));
      assert.equal(await count(), 450);
      await store.journal(many(10));
      assert.equal(await count(), 10);
      await store.journal([]);
      await store.close();
    });

    test('the reader says when it has enough', async () => {
      const store = await started();
      await store.keep(
        Array.from({ length: 20 }, (_, at) => record({ tenant: 'enough', minute: THEN - at * STEPS.minute })),
      );
      let seen = 0;
      await store.read({ tenant: 'enough', from: 0, to: NOW }, () => ++seen < 5);
      assert.equal(seen, 5);
      await store.close();
    });

    if (lasting) {
      test('what a run has counted is there for the next, killed or not', async () => {
        const clock = { time: NOW, now: () => clock.time };
        const first = await started('killed');
        const before = book(first, clock, 'killed');
        await before.book.start();
        before.ledger.tick(clock.time, () => true);
        publishes(before.ledger.usageOf('stays'), 4);
        await before.book.flush();
        // Counted after the flush, and lost with the process.
        publishes(before.ledger.usageOf('stays'), 1);
        await first.close();

        const second = await started('next');
        const later = book(second, clock, 'next');
        const { bytes } = await later.book.start();
        assert.equal(bytes.get('stays'), 40);
        later.ledger.tick(clock.time, () => true);
        publishes(later.ledger.usageOf('stays'), 2);
        await later.book.close();
        const third = await started('third');
        const last = book(third, clock, 'third').book;
        const found = rows(
          await last.report({ tenant: 'stays', from: NOW, to: NOW + STEPS.minute }, 'minute'),
        );
        assert.deepEqual(
          found.map(({ messagesIn, payloadBytes }) => [messagesIn, payloadBytes]),
          [[6, 60]],
        );
        await third.close();
      });
    }
  });
}
