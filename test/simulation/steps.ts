import { roomKey } from '../../src/broker/rooms.ts';
import type { Overflow, Since } from '../../src/protocol/frames.ts';
import { Rng } from '../support/rng.ts';
import type { Actor } from './actor.ts';
import type { Message } from './model/reader.ts';
import { ROOMS } from './scenario.ts';
import type { World } from './world.ts';

type Act = (world: World, actor: Actor) => void;

/** Kinds of steps and how often each is taken, before the scenario changes that. */
const ACTS: readonly (readonly [number, Act])[] = [
  [8, join],
  [1.5, leave],
  [20, publish],
  [6, publishMany],
  [3, retry],
  [2, pass],
  [2, seen],
  [2, history],
  [1, reconnect],
  [0.5, lose],
  [3, slowDown],
  [8, readSome],
  [12, readAll],
  [20, turn],
  [25, deliver],
  [2, wait],
  [0.3, refresh],
  [0.3, audit],
  [0.3, dropOldest],
  [0.1, changeEpoch],
  [0.1, breakFeed],
  [0.2, missLive],
  [0.1, killHost],
  [0.1, drainHost],
];

/** One step, wholly decided by its own seed and the world as it is: steps can be left out. */
export function take(world: World, stepSeed: number): void {
  const rng = new Rng(stepSeed);
  world.rng = rng;
  const act = pickAct(rng, world.scenario.weights);
  const actor = rng.pick(world.actors);
  if (!actor.connected && rng.chance(0.5)) reconnect(world, actor);
  act(world, actor);
}

function pickAct(rng: Rng, factors: readonly number[]): Act {
  const weights = ACTS.map(([weight], at) => weight * (factors[at] ?? 1));
  let roll = rng.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [at, [, act]] of ACTS.entries()) {
    roll -= weights[at] as number;
    if (roll < 0) return act;
  }
  return turn;
}

function join(world: World, actor: Actor): void {
  const { rng } = world;
  if (!actor.connected) return;
  const room = rng.pick(ROOMS);
  const known = actor.reader.left.get(room);
  let since: Since | undefined;
  if (known !== undefined && rng.chance(0.7)) since = known;
  else if (rng.chance(0.2)) since = { last: rng.pick([0, 1, 5, 1000]) };
  const overflow = rng.pick<Overflow | undefined>([
    'backfill',
    'backfill',
    'latest',
    'skip',
    'close',
    undefined,
  ]);
  const policy = world.scenario.policies.find(({ matches }) => matches(room));
  actor.join(room, since, overflow ?? policy?.overflow, rng.chance(0.2));
}

function leave({ rng }: World, actor: Actor): void {
  if (actor.connected) actor.leave(rng.pick(ROOMS));
}

function newMessage(world: World, actor: Actor, room: string): Message {
  const n = world.number();
  const msgId = world.rng.chance(0.8) ? `${actor.name}-${n}` : undefined;
  const message = { room, msgId, n, acked: new Map(), attempts: 0 };
  if (msgId !== undefined) actor.messages.push(message);
  if (actor.messages.length > 50) actor.messages.shift();
  return message;
}

/** A retry says the same again: what belongs to a message follows from its number. */
function fieldsOf(world: World, { n }: Message): { echo: boolean; key: string | undefined; fill: number } {
  const rng = new Rng(n);
  return {
    echo: rng.chance(0.7),
    key: rng.pick([undefined, 'k1', 'k2', 'k3']),
    fill: rng.below(world.scenario.fill),
  };
}

function publish(world: World, actor: Actor): void {
  if (!actor.connected) return;
  const message = newMessage(world, actor, world.rng.pick(ROOMS));
  actor.publish([message], fieldsOf(world, message));
}

function publishMany(world: World, actor: Actor): void {
  if (!actor.connected) return;
  const room = world.rng.pick(ROOMS);
  const messages = Array.from({ length: 2 + world.rng.below(10) }, () => newMessage(world, actor, room));
  actor.publish(messages, fieldsOf(world, messages[0] as Message));
}

function retry(world: World, actor: Actor): void {
  if (!actor.connected || actor.messages.length === 0) return;
  const message = world.rng.pick(actor.messages);
  actor.publish([message], fieldsOf(world, message));
}

function pass({ rng }: World, actor: Actor): void {
  if (actor.connected) actor.pass(rng.pick(ROOMS));
}

function seen({ rng, truth }: World, actor: Actor): void {
  const place = rng.chance(0.9) ? actor.reader.places.get('inbox:x') : undefined;
  if (!actor.connected || place?.seq === undefined) return;
  // `seen` names no epoch: sent behind a join, it would be taken for a position of the room as it is then.
  const moving = [...actor.reader.requests.values()].some(({ type }) => type === 'join');
  if (moving) return;
  const beyond = rng.chance(0.1);
  const { head } = truth.order(place.epoch, place.key);
  actor.seen('inbox:x', beyond ? 1e12 : place.seq, beyond ? head : place.seq);
}

function history(world: World, actor: Actor): void {
  const { rng, truth } = world;
  if (!actor.connected) return;
  const room = rng.pick(ROOMS);
  const epoch = actor.reader.places.get(room)?.epoch ?? world.store.epoch;
  const somewhere = (): number => 1 + rng.below(truth.order(epoch, roomKey('default', room)).head + 2);
  const [after, before] = rng.pick([
    [undefined, undefined],
    [somewhere(), undefined],
    [undefined, somewhere()],
  ]);
  actor.history(room, after, before, 1 + rng.below(60));
}

function reconnect(world: World, actor: Actor): void {
  const { rng } = world;
  const host = rng.pick(world.hosts);
  if (host.draining) return;
  const ticket = rng.chance(0.5) ? actor.reader.ticket : undefined;
  const exp = rng.chance(0.3) ? Math.floor(world.time / 1000) + 1 + rng.below(30) : undefined;
  if (ticket !== undefined && actor.connected && rng.chance(0.5)) return takeOver(world, actor, ticket);
  actor.connect(host, world.socketFor(host), ticket, exp);
}

/** The old connection still hangs when its session comes back: it is told 4008. */
function takeOver(world: World, actor: Actor, ticket: string): void {
  const { host, socket } = actor;
  if (host === undefined || socket === undefined || host.draining) return;
  actor.socket = undefined;
  actor.reader.disconnected();
  actor.connect(host, world.socketFor(host), ticket, undefined);
  if (actor.socket !== undefined) world.count('taken over');
  socket.end(1006);
}

function lose(_world: World, actor: Actor): void {
  actor.lose();
}

function slowDown(world: World, actor: Actor): void {
  if (actor.socket === undefined) return;
  actor.socket.slow = !actor.socket.slow;
  actor.socket.wasSlow = true;
  world.tell(`${actor.name} is ${actor.socket.slow ? 'slow' : 'fast again'}`);
}

function readSome({ rng }: World, actor: Actor): void {
  actor.read(1 + rng.below(4));
}

function readAll(world: World): void {
  for (const actor of world.actors) if (actor.socket?.slow === false) actor.read(1e9);
}

function turn(world: World): void {
  const host = world.rng.pick(world.hosts);
  world.tell(`${host.name} ends its turn`);
  host.node.turn();
}

function deliver(world: World): void {
  for (let left = 1 + world.rng.below(6); left > 0; left--) world.mailbox.runOne(world.rng);
}

function wait(world: World): void {
  const ms = world.rng.below(3000);
  world.tell(`${ms} ms pass`);
  world.advance(ms);
}

function refresh(world: World, actor: Actor): void {
  if (actor.connected)
    actor.refresh(`${actor.user} ${Math.floor(world.time / 1000) + 2 + world.rng.below(60)}`);
}

function audit(world: World): void {
  for (const bus of world.buses) bus.audit();
}

function dropOldest(world: World): void {
  const events = world.rng.below(40);
  world.tell(`the store drops ${events} places`);
  world.store.drop(events);
}

function changeEpoch(world: World): void {
  if (world.buses.length === 0) return;
  world.tell('the store is made anew');
  world.count('epochs');
  world.store.recreate();
  for (const bus of world.buses) world.mailbox.post(`epoch ${bus.name}`, () => bus.noticeEpoch());
}

function breakFeed(world: World): void {
  if (world.buses.length > 0) world.rng.pick(world.buses).breakFeed();
}

function missLive(world: World): void {
  if (world.buses.length === 0) return;
  const policy = world.scenario.policies.find(({ matches }) => matches('live:c'));
  if (policy === undefined) return;
  const name = 'live:c';
  world.rng.pick(world.buses).missLive({ key: roomKey('default', name), tenant: 'default', name, policy });
}

function killHost(world: World): void {
  world.count('kills');
  world.replace(world.rng.pick(world.hosts));
}

function drainHost(world: World): void {
  const host = world.rng.pick(world.hosts);
  if (host.draining) return;
  host.draining = true;
  world.tell(`${host.name} drains`);
  world.count('drains');
  const pace = {
    windowMs: 3000,
    deadlineMs: 30_000,
    perSecond: 2,
    loopLagMs: 50,
    awayMs: 1000,
    roundMs: 1000,
  };
  host.node.hub.drain(
    { ...pace, reason: 'drain' },
    () => world.rng.next(),
    () => {
      if (world.hosts.includes(host)) world.replace(host);
    },
  );
}
