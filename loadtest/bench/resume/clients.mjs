/** A process full of clients, which its parent tells to come, go, and come back. */

import { inTurn, percentiles } from '../../support/stats.mjs';
import { serveCommands } from '../../support/worker.mjs';
import { Client } from './client.mjs';

/** Handshakes under way at once: the backlog of a listener is 512. */
const AT_ONCE = 200;
const clients = [];

const commands = {
  /** Joins the rooms; `leave`: and is gone again, with a position that grows old. */
  async open({ address, rooms, tokens, leave }) {
    const come = rooms.map((room, n) => new Client(room, tokens[n]));
    await inTurn(come, AT_ONCE, (client) => client.open(address));
    if (leave) for (const client of come) client.drop();
    clients.push(...come);
  },

  drop() {
    for (const client of clients) client.drop();
  },

  async resume({ address }) {
    for (const client of clients) client.events = 0;
    const started = performance.now();
    await inTurn(clients, AT_ONCE, (client) => client.open(address));
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

function counts(values) {
  const found = {};
  for (const value of values) found[value] = (found[value] ?? 0) + 1;
  return found;
}

serveCommands(commands);
