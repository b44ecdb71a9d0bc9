import assert from 'node:assert/strict';
import type { Bus, Publication, RoomRef, Settle } from '../../src/broker/ports.ts';
import { roomKey } from '../../src/broker/rooms.ts';
import { MemoryBus } from '../../src/bus/memory/bus.ts';
import { MemoryCursors } from '../../src/bus/memory/cursors.ts';
import { LIMITS } from '../support/limits.ts';
import { Rng } from '../support/rng.ts';
import { QUIET } from '../support/sim.ts';
import { Actor, type SeenBy } from './actor.ts';
import { type Cluster, type Freedoms, SimBus } from './bus/bus.ts';
import { SimStore } from './bus/store.ts';
import { SimHost } from './host.ts';
import { Mailbox } from './mailbox.ts';
import { ROOMS, type Scenario } from './scenario.ts';
import { ModelSocket } from './socket.ts';
import { Truth } from './truth.ts';

const CALM: Freedoms = { late: 0, lost: 0, refused: 0, unheard: 0, cold: 0 };
const ROUNDS = 5000;

/** Nodes, their bus, clients, and the truth about all of them. Every choice comes from `rng`. */
export class World {
  readonly scenario: Scenario;
  readonly met: Map<string, number>;
  readonly trace: string[] | undefined;
  rng: Rng;
  time = 1_760_000_000_000;
  readonly mailbox = new Mailbox();
  readonly truth = new Truth();
  readonly hosts: SimHost[] = [];
  readonly actors: Actor[];
  readonly #clock = { now: () => this.time };
  readonly store = new SimStore(this.#clock, this.truth);
  readonly #cluster: Cluster & { freedoms: Freedoms };
  /** Survive every process, as if they were kept in the store. */
  readonly #cursors = new MemoryCursors(LIMITS.cursors);
  #processes = 0;
  #numbers = 0;
  #ticks = 0;

  constructor(scenario: Scenario, met: Map<string, number>, trace?: string[]) {
    this.scenario = scenario;
    this.met = met;
    this.trace = trace;
    this.rng = new Rng(scenario.seed);
    const { store, mailbox, truth } = this;
    const { freedoms } = scenario;
    this.#cluster = { store, mailbox, truth, clock: this.#clock, freedoms, rng: () => this.rng, nodes: [] };
    for (let host = 0; host < Math.max(1, scenario.nodes); host++) this.hosts.push(this.#process());
    const seen: SeenBy = new Map();
    const world = { truth, seen, met, tell: (line: string) => this.tell(line) };
    // The first two are devices of one user.
    this.actors = Array.from(
      { length: scenario.clients },
      (_, at) => new Actor(`c${at}`, `u${Math.max(1, at)}`, world),
    );
  }

  tell(line: string): void {
    this.trace?.push(line);
  }

  count(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1);
  }

  number(): number {
    return ++this.#numbers;
  }

  get buses(): readonly SimBus[] {
    return this.#cluster.nodes;
  }

  socketFor(host: SimHost): ModelSocket {
    const { limits, sabotage } = this.scenario;
    const encoding = this.rng.chance(0.2) ? 'msgpack' : 'json';
    return new ModelSocket(encoding, limits.bufferedHardBytes, (task) => host.node.defer(task), sabotage);
  }

  /** The process is gone, with everything it had in memory, and another stands in its place. */
  replace(host: SimHost): void {
    this.tell(`${host.name} dies`);
    host.kill();
    this.hosts[this.hosts.indexOf(host)] = this.#process();
  }

  advance(ms: number): void {
    this.time += ms;
    this.store.expire();
    for (const host of [...this.hosts]) {
      host.node.fire();
      host.node.hub.tick();
    }
  }

  /** Everybody reads, nothing fails any more, and everything comes to an end: then nothing may be missing. */
  rest(): void {
    this.#cluster.freedoms = CALM;
    for (let round = 0; round < ROUNDS; round++) if (!this.#goOn()) return this.#rested();
    assert.fail('the world never comes to rest');
  }

  /** false: there was nothing left to do. */
  #goOn(): boolean {
    let tasks = 0;
    while (tasks < 8 && this.mailbox.runOne(this.rng)) tasks++;
    if (tasks === 0) for (const bus of this.buses) bus.audit();
    // Nothing is held back for longer than this.
    this.time += 10;
    for (const { node } of this.hosts) {
      node.fire();
      node.turn();
    }
    let read = false;
    for (const actor of this.actors) {
      if (actor.socket !== undefined) actor.socket.slow = false;
      read = actor.read(1e9) || read;
    }
    return tasks > 0 || read || !this.mailbox.empty || this.hosts.some(({ node }) => node.busy);
  }

  #rested(): void {
    const connected = this.actors.filter((actor) => actor.connected);
    for (const { name, reader } of connected) {
      for (const [room, place] of reader.places) {
        try {
          place.rested();
        } catch (error) {
          throw new Error(`${name} in ${room}: ${error instanceof Error ? error.message : error}`);
        }
      }
      const waiting = [...reader.requests.values()].filter(({ type }) => type !== 'seen');
      assert.deepEqual(waiting, [], `${name} has been given every answer`);
    }
    for (const host of this.hosts) {
      const here = connected.filter((actor) => actor.host === host);
      assert.equal(host.node.hub.size, here.length, `the sessions of ${host.name}`);
      const members = here.reduce((sum, { reader }) => sum + reader.places.size, 0);
      assert.equal(host.node.tally.memberships, members, `the memberships of ${host.name}`);
    }
  }

  #process(): SimHost {
    const name = `n${++this.#processes}`;
    const ticks = () => {
      if (this.rng.chance(this.scenario.busy)) this.#ticks += this.rng.below(4);
      return this.#ticks;
    };
    const parts = { scenario: this.scenario, clock: this.#clock, ticks, cursors: this.#cursors };
    if (this.scenario.nodes > 0) {
      const bus = new SimBus(name, this.#cluster);
      return new SimHost(name, { ...parts, bus, kill: () => bus.kill() });
    }
    const limits = { ...LIMITS, ...this.scenario.limits };
    const bus = new MemoryBus({ limits, clock: this.#clock, epoch: name, log: QUIET });
    return new SimHost(name, { ...parts, bus: recorded(bus, name, this), kill: () => void bus.close() });
  }
}

/** The embedded bus, with its accepted publishes written down. */
function recorded(bus: MemoryBus, epoch: string, { truth, scenario }: World): Bus {
  const refOf = (key: string): RoomRef | undefined => {
    const name = ROOMS.find((room) => roomKey('default', room) === key);
    const policy = scenario.policies.find(({ matches }) => name !== undefined && matches(name));
    return name === undefined || policy === undefined ? undefined : { key, tenant: 'default', name, policy };
  };
  truth.oldestKept = (asked, key) => {
    const ref = refOf(key);
    if (asked !== epoch || ref === undefined) return undefined;
    let oldest: number | undefined;
    bus.history(ref, { limit: 1e6, maxBytes: 1e12 }, (page) => {
      if (page.ok) oldest = page.events[0]?.seq;
    });
    return oldest;
  };
  const publish = (publication: Publication, settle: Settle): void => {
    const { room, payload, from, msgId, key } = publication;
    bus.publish(publication, (outcome) => {
      if (outcome.ok && outcome.seq !== undefined && !outcome.duplicate) {
        const message = room.policy.history === undefined ? undefined : msgId;
        truth.order(epoch, room.key).add({ seq: outcome.seq, payload, from, msgId: message, key });
      }
      settle(outcome);
    });
  };
  return new Proxy(bus, {
    get: (target, name) => {
      if (name === 'publish') return publish;
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
