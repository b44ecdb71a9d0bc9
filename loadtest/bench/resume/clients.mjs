/** A process full of clients, which its parent tells to come, go, and come back. */
import { Client } from './client.mjs';

/** Handshakes under way at once: the backlog of a listener is 512. */
const AT_ONCE = 200;
const clients = [];

const commands = {
  /** Joins the rooms; `leave`: and is gone again, with a position that grows old. */
  async open({ address, rooms, tokens, leave }) {
    const come = rooms.map((room, n) => new Client(room, tokens[n]));
    await inTurn(come, (client) => client.open(address));
    if (leave) for (const client of come) client.drop();
    clients.push(...come);
  },

  drop() {
    for (const client of clients) client.drop();
  },

  async resume({ address }) {
    for (const client of clients) client.events = 0;
    const started = performance.now();
    await inTurn(clients, (client) => client.open(address));
    const ms = performance.now() - started;
    return {
      ms,
      clients: clients.length,
      events: clients.reduce((sum, { events }) => sum + events, 0),
      waits: percentiles(clients.map(({ caughtUpMs }) => caughtUpMs)),
      recovered: counts(clients.map(({ recovered }) => recovered)),
    };
  },

  /** Latencies since the last time that it was asked. */
  latencies() {
    const all = clients.flatMap(({ latencies }) => latencies);
    for (const client of clients) client.latencies = [];
    return percentiles(all.map((value) => value / 1000));
  },

  faults: () => clients.flatMap(({ faults }) => faults),
  positions: () => clients.map(({ position }) => position),
};

async function inTurn(all, task) {
  let next = 0;
  const runner = async () => {
    while (next < all.length) await task(all[next++]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, runner));
}

function counts(values) {
  const found = {};
  for (const value of values) found[value] = (found[value] ?? 0) + 1;
  return found;
}

function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}

process.on('message', async ({ id, command, ...fields }) => {
  try {
    process.send({ id, result: await commands[command](fields) });
  } catch (error) {
    process.send({ id, error: error.stack });
  }
});
process.on('disconnect', () => process.exit());
