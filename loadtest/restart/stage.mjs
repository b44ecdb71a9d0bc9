/** Brokers on NATS, thousands of clients, steady traffic; then every broker is restarted, one after the other. */
import { WebSocket } from 'ws';
import { NatsCluster } from '../../test/support/nats/cluster.ts';
import { startPods } from '../chaos/pods.ts';
import { readStore } from '../chaos/store.ts';
import { micros } from '../support/events.mjs';
import { scrape, total } from '../support/metrics.mjs';
import { sleep } from '../support/stats.mjs';
import { Worker } from '../support/worker.mjs';
import { front } from './front.mjs';
import { Traffic } from './traffic.mjs';

const SHARDS = 4;
const HALL = 'live:hall';
const CLIENTS = new URL('./clients.mjs', import.meta.url);
const READY_MS = 20_000;
const ANSWER_MS = 60_000;
const SETTLE_MS = 60_000;
/** For the graces of whoever has not come back: presence.drainGraceMs, and heartbeats. */
const GRACE_MS = 22_000;
/** A drain may need its deadline, and the end of a process some seconds. */
const drainPatienceMs = (deadlineSeconds) => Math.max(30, deadlineSeconds + 15) * 1000;
const MANY = 1_000_000;

const now = () => micros() / 1000;

function configOf({ rate, rooms, perSecond, deadline }) {
  return {
    rooms: [
      { match: 'live:**' },
      { match: '**', history: { count: Math.ceil((rate * 600) / rooms) + 100, age: '1h', bytes: '64MiB' } },
    ],
    // The publishers here are few and stand for many.
    limits: { rates: false },
    nats: { url: 'nats://127.0.0.1:4222', shards: SHARDS, streamBytes: '256MiB' },
    // So that a watcher is told everybody by name, whatever the number, and of whoever left while it was away.
    presence: { fullMembers: MANY, deltaMembers: MANY },
    drain: { ...(perSecond > 0 && { perSecond }), ...(deadline > 0 && { deadlineMs: `${deadline}s` }) },
  };
}

class Stage {
  stopping = [];
  windows = [];

  async start(settings, say) {
    this.settings = settings;
    this.say = say;
    const nats = await NatsCluster.start(1);
    this.nats = nats;
    this.stopping.unshift(() => nats.close());
    this.pods = await startPods({ count: settings.brokers, natsUrls: nats.urls, config: configOf(settings) });
    this.stopping.unshift(() => Promise.all(this.pods.map((pod) => pod.close())));
    this.rooms = Array.from({ length: settings.rooms }, (_, at) => `roll:${at}`);
    this.front = await front(settings.proxy, this.pods, this.stopping);
    this.token = (sub) => this.pods.find(({ serving }) => serving).broker.token({ sub });
    await this.#crowd();
    const { urls, authority } = this.front;
    const stage = this;
    class Turning extends WebSocket {
      static turn = 0;
      constructor(_url, protocols) {
        const all = urls(stage.serving);
        super(all[Turning.turn++ % all.length], protocols, { ...(authority && { ca: authority }) });
      }
    }
    this.traffic = await Traffic.start({
      ...this,
      rate: settings.rate,
      url: urls(this.pods)[0],
      webSocket: Turning,
    });
    this.stopping.unshift(() => this.traffic.close());
  }

  get serving() {
    return this.pods.filter(({ serving }) => serving);
  }

  async #people(count, prefix, watches = false) {
    const people = [];
    for (let at = 0; at < count; at++) {
      const user = `${prefix}${at}`;
      people.push({
        user,
        token: await this.token(user),
        room: this.rooms[at % this.rooms.length],
        hall: HALL,
        watches,
      });
    }
    return people;
  }

  async #crowd() {
    const { clients, processes, bystanders, watchers, brokers } = this.settings;
    this.workers = Array.from({ length: processes }, () => new Worker(CLIENTS));
    this.bystanders = new Worker(CLIENTS);
    this.watchers = new Worker(CLIENTS);
    this.everybody = [...this.workers, this.bystanders, this.watchers];
    this.stopping.unshift(() => Promise.all(this.everybody.map((worker) => worker.stop())));
    const begun = now();
    const members = await this.#people(clients, 'c');
    const open = { urls: this.front.urls(this.pods), authority: this.front.authority };
    await Promise.all(
      this.workers.map((worker, n) =>
        worker.run('open', { ...open, people: members.filter((_, at) => at % processes === n) }),
      ),
    );
    await this.bystanders.run('open', { ...open, people: await this.#people(bystanders, 'b') });
    await this.watchers.run('open', { ...open, people: await this.#people(watchers * brokers, 'w', true) });
    this.users = clients + bystanders + watchers * brokers;
    this.say(`${this.users} clients after ${((now() - begun) / 1000).toFixed(1)} s`);
  }

  async #tellServing() {
    const urls = this.front.urls(this.serving);
    await Promise.all(this.everybody.map((worker) => worker.run('serving', { urls })));
  }

  /** SIGTERM, the end, a new start, ready. */
  async restart(at) {
    const pod = this.pods[at];
    const before = await this.connections();
    const window = { pod: pod.name, from: now(), connections: before[at] };
    this.windows.push(window);
    this.traffic.away = at;
    const drained = pod.drain(drainPatienceMs(this.settings.deadline));
    await this.#tellServing();
    await drained;
    window.endedAt = now();
    await pod.start();
    await pod.ready(READY_MS);
    window.to = now();
    this.traffic.away = undefined;
    await this.#tellServing();
    const took = (window.to - window.from) / 1000;
    this.say(
      `${pod.name}: ${window.connections} clients, drained and ready again after ${took.toFixed(1)} s`,
    );
  }

  /** By pod. */
  connections() {
    return Promise.all(
      this.pods.map(async ({ admin }) => {
        const [host, port] = admin.split(':');
        return total(await scrape({ host, port }), 'connections');
      }),
    );
  }

  /** Until everybody has a connection and the last event of its room. */
  async settle(last) {
    const until = performance.now() + SETTLE_MS;
    for (;;) {
      const counts = await Promise.all(this.everybody.map((worker) => worker.run('settled', { last })));
      const there = counts.reduce((sum, count) => sum + count, 0);
      if (there === this.users || performance.now() > until) return there;
      await sleep(200);
    }
  }

  async close() {
    for (const stop of this.stopping) await stop();
  }
}

async function play(stage) {
  const { calmMs, betweenMs } = stage.settings;
  const startedAt = now();
  await sleep(calmMs);
  const calmTo = now();
  for (let at = 0; at < stage.pods.length; at++) {
    await stage.restart(at);
    await sleep(betweenMs);
  }
  const until = now();
  await sleep(GRACE_MS);
  await stage.traffic.stop(ANSWER_MS);
  stage.say(
    `${stage.traffic.ledger.entries.length} published, ${stage.traffic.ledger.open} without an answer`,
  );
  return { startedAt, calmTo, until };
}

async function truth(stage) {
  const streams = Array.from({ length: SHARDS }, (_, shard) => `CARILLON_${shard}`);
  const stored = await readStore(stage.nats.urls, streams);
  const last = Object.fromEntries([...stored].map(([room, { seqs }]) => [room, seqs.at(-1)]));
  const settled = await stage.settle(last);
  stage.say(`${settled} of ${stage.users} are back and have all`);
  const [facts, latencies, watched] = [
    await Promise.all(stage.everybody.map((worker) => worker.run('facts'))),
    await stage.bystanders.run('latencies'),
    await stage.watchers.run('watched'),
  ];
  return { stored, settled, facts, latencies, watched };
}

/** Everything that happened, as it was told; `report.mjs` judges it. */
export async function rollingRestart(settings, say) {
  const stage = new Stage();
  try {
    await stage.start(settings, say);
    const times = await play(stage);
    const found = await truth(stage);
    const { windows, users, traffic } = stage;
    return {
      ...times,
      ...found,
      windows,
      users,
      published: traffic.ledger.entries,
      refusals: traffic.ledger.refusals,
    };
  } finally {
    await stage.close();
  }
}
