import { setTimeout as sleep } from 'node:timers/promises';
import { NatsCluster } from '../../test/support/nats/cluster.ts';
import { Rng } from '../../test/support/rng.ts';
import { check, type Verdict } from './checker.ts';
import { type Stage, strike } from './faults.ts';
import { Ledger, type Span } from './ledger.ts';
import { Load } from './load.ts';
import { type Pod, startPods } from './pods.ts';
import { readStore } from './store.ts';
import { type FaultKind, timetable } from './timetable.ts';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly brokers: number;
  /** Messages a second over all rooms. */
  readonly rate: number;
  readonly rooms: number;
  /** Subscribing clients. */
  readonly clients: number;
  readonly publishers: number;
  /** Subscribers of each room. */
  readonly fanout: number;
  readonly faults: readonly FaultKind[];
  /** What happens while it happens, in lines. */
  readonly say: (text: string) => void;
}

export interface ChaosReport {
  /** No promise was broken, no gap was needed, every publish was acked in the end. */
  readonly passed: boolean;
  readonly verdict: Verdict;
  readonly spans: readonly Span[];
  readonly published: number;
  readonly duplicates: number;
  readonly reconnects: number;
  /** Holes that clients found by `prev` and filled from the history: the brokers should leave none. */
  readonly healed: number;
  /** By code, of publishes that were refused in the end. */
  readonly refusals: ReadonlyMap<string, number>;
}

const SHARDS = 8;
/** Without load before the first join, and with load before the end, after the last fault is mended. */
const CALM_MS = 2000;
/** The SDK gives a publish 120 s. */
const ANSWER_MS = 130_000;
const QUIET_MS = 30_000;

/** Three nats-servers, brokers, clients, load, faults; then the whole truth. Throws when the stage itself fails. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const nats = await NatsCluster.start(3, {
    extra: 'lame_duck_grace_period: "1s"\nlame_duck_duration: "30s"',
  });
  const stopping: (() => unknown)[] = [() => nats.close()];
  try {
    const pods = await startPods({ count: options.brokers, natsUrls: nats.urls, config: config(options) });
    stopping.unshift(() => Promise.all(pods.map((pod) => pod.close())));
    return await run(options, nats, pods, stopping);
  } finally {
    for (const stop of stopping) await stop();
  }
}

async function run(
  options: ChaosOptions,
  nats: NatsCluster,
  pods: readonly Pod[],
  stopping: (() => unknown)[],
): Promise<ChaosReport> {
  const rng = new Rng(options.seed);
  const plan = timetable(options.faults, options.seconds, rng);
  const rooms = Array.from({ length: options.rooms }, (_, at) => `room:${at}`);
  const ledger = new Ledger('(calm)');
  const load = new Load({ ...options, pods, rooms, rng: new Rng(options.seed + 1), ledger });
  stopping.unshift(() => load.close());
  const streams = Array.from({ length: SHARDS }, (_, shard) => `CARILLON_${shard}`);
  await load.join();
  load.start();
  await play(plan, { nats, pods, streams, rng }, ledger, options);
  await load.stop(ANSWER_MS);
  options.say(`${ledger.entries.length} published, ${ledger.open} without an answer; reading the store`);
  const stored = await readStore(nats.urls, streams);
  await load.settle(stored, QUIET_MS);
  const verdict = check({ published: ledger.entries, stored, told: ledger.told });
  const { spans, refusals, healed } = ledger;
  const total = (name: 'duplicates' | 'reconnects') => spans.reduce((sum, span) => sum + span[name], 0);
  const published = ledger.entries.length;
  return {
    passed: verdict.ok && verdict.gaps === 0 && published > 0 && verdict.acked === published,
    verdict,
    spans,
    published,
    duplicates: total('duplicates'),
    reconnects: total('reconnects'),
    healed,
    refusals,
  };
}

async function play(
  plan: ReturnType<typeof timetable>,
  stage: Stage,
  ledger: Ledger,
  { seconds, say }: ChaosOptions,
): Promise<void> {
  const began = performance.now();
  const at = () => (performance.now() - began) / 1000;
  const until = (second: number) => sleep(Math.max(0, (second - at()) * 1000));
  for (const { fault, atSeconds } of plan) {
    await until(atSeconds);
    say(`${at().toFixed(1).padStart(6)} s  ${fault}`);
    const span = ledger.span(fault);
    span.detail = await strike(fault, stage);
    say(`${at().toFixed(1).padStart(6)} s  mended: ${span.detail}`);
  }
  await until(seconds);
  await sleep(CALM_MS);
}

/** Nothing that was published may leave the store before it is read back. */
function config({ rate, seconds, rooms }: ChaosOptions): Record<string, unknown> {
  const perRoom = Math.ceil(((rate * seconds) / rooms) * 3) + 2000;
  return {
    rooms: [{ match: '**', history: { count: perRoom, age: '1h', bytes: '512MiB' }, overflow: 'backfill' }],
    // The publishers here are few and stand for many.
    limits: { rates: false },
    nats: { url: 'nats://127.0.0.1:4222', shards: SHARDS, streamBytes: '512MiB' },
    tickets: { secrets: ['a-secret-that-only-the-chaos-run-uses'] },
  };
}
