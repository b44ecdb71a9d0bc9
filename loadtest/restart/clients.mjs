/** A process full of SDK clients. Each is in a durable room and in the hall, where all are, and keeps what it was told. */
import { createSecureContext } from 'node:tls';
import { WebSocket } from 'ws';
import { connect } from '../../dist/client/index.js';
import { micros } from '../support/events.mjs';
import { inTurn, percentiles } from '../support/stats.mjs';
import { serveCommands } from '../support/worker.mjs';

/** Handshakes under way at once. */
const AT_ONCE = 50;

const clients = [];
/** Addresses that a load balancer would send clients to. */
let serving = [];
let turn = 0;
/** One for all, as in a browser: reading the certificates for each connection would cost more than the handshake. */
let secureContext;

const now = () => micros() / 1000;

/** Each attempt goes to the next address. */
class Turning extends WebSocket {
  constructor(_url, protocols) {
    const url = serving[turn++ % serving.length];
    super(url, protocols, { perMessageDeflate: false, ...(secureContext && { secureContext }) });
  }
}

class Person {
  from = -1;
  epochs = [];
  seqs = [];
  messages = [];
  gaps = [];
  healed = 0;
  errors = [];
  /** Milliseconds since 1970: lost, open again, caught up; and how often it tried. */
  returns = [];
  resumed = 0;
  /** Milliseconds from a publish to its event, live only: what a replay brings was late by then. */
  latencies = [];
  /** Of those who watch: who was told to have left, and what `members` held in the end. */
  left = [];
  #live = false;

  async open({ user, token, room, hall, watches }) {
    this.who = user;
    this.room = room;
    this.client = connect(serving[0], { token, webSocket: Turning });
    this.client.on('reconnect', ({ downMs, attempts }) => {
      const openAt = now();
      this.returns.push({ lostAt: openAt - downMs, openAt, attempts });
    });
    this.client.on('resumed', () => this.resumed++);
    this.client.on('error', (error) => this.errors.push(`${error.code} ${error.message}`));
    this.client.on('state', ({ name }) => {
      if (name !== 'open') this.#live = false;
    });
    const joined = this.#inRoom(this.client.join(room));
    this.hall = this.client.join(hall, { presence: watches === true });
    if (watches) this.hall.on('presence', ({ left }) => this.#gone(left));
    await Promise.all([joined.whenJoined(), this.hall.whenJoined()]);
  }

  #inRoom(room) {
    room.on('joined', ({ epoch, seq }) => {
      if (this.from < 0) this.from = seq;
      if (!this.epochs.includes(epoch)) this.epochs.push(epoch);
      this.#live = this.returns.length === 0;
    });
    room.on('caughtUp', () => {
      this.#live = true;
      const last = this.returns.at(-1);
      if (last !== undefined) last.caughtUpAt ??= now();
    });
    room.on('event', ({ seq, payload }) => {
      this.seqs.push(seq);
      this.messages.push(payload.n);
      if (this.#live && payload.t !== undefined) this.latencies.push([now(), now() - payload.t]);
    });
    room.on('gap', (gap) => this.gaps.push(gap));
    room.on('healed', () => this.healed++);
    return room;
  }

  #gone(users) {
    const at = now();
    for (const user of users) this.left.push([user, at]);
  }

  get told() {
    const { who, room, from, epochs, seqs, messages, gaps } = this;
    return { who, room, from, epochs, seqs, messages, gaps };
  }
}

serveCommands({
  async open({ people, urls, authority }) {
    serving = urls;
    if (authority !== undefined) secureContext = createSecureContext({ ca: authority });
    await inTurn(people, AT_ONCE, async (one) => {
      const person = new Person();
      clients.push(person);
      await person.open(one);
    });
  },

  serving({ urls }) {
    serving = urls;
  },

  /** How many have a connection and are where the room's last event is. */
  settled: ({ last }) =>
    clients.filter(({ client, room, seqs, from }) => {
      const seq = last[room] ?? 0;
      return client.state.name === 'open' && Math.max(from, seqs.at(-1) ?? 0) >= seq;
    }).length,

  latencies: () => clients.flatMap(({ latencies }) => latencies),

  facts: () => ({
    told: clients.map(({ told }) => told),
    returns: clients.flatMap(({ returns }) => returns),
    resumed: clients.reduce((sum, one) => sum + one.resumed, 0),
    healed: clients.reduce((sum, one) => sum + one.healed, 0),
    errors: counted(clients.flatMap(({ errors }) => errors)),
    down: percentiles(clients.flatMap(({ returns }) => returns.map(({ lostAt, openAt }) => openAt - lostAt))),
  }),

  /** Of each who watches: who was told to have left, who is there, and how many. */
  watched: () =>
    clients.map(({ left, hall }) => ({ left, members: [...hall.members.keys()], count: hall.count })),

  close() {
    for (const { client } of clients) client.close();
  },
});

function counted(texts) {
  const found = {};
  for (const text of texts) found[text] = (found[text] ?? 0) + 1;
  return found;
}
