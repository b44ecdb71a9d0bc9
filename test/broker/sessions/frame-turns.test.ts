import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameTurns, type Worker } from '../../../src/broker/sessions/frame-turns.ts';
import type { Inbound } from '../../../src/protocol/inbound.ts';

const LIMITS = { turnAnswerBytes: 1000, catchUpBytes: 500, inboundQueueBytes: 10_000 };

class Client implements Worker {
  ended = false;
  readonly identity: Worker['identity'];
  waiting = 0;
  readonly connection = { buffered: () => this.waiting };
  answered = 0;
  awaited = 0;
  readonly got: unknown[] = [];
  why = '';

  constructor(user: string) {
    this.identity = { tenant: 't', user };
  }

  end(_why: string, detail: string): void {
    this.ended = true;
    this.why = detail;
  }
}

/** Turns of a loop; a page of history makes `answerBytes` and takes `ms`. */
function loop(answerBytes: number, ms = 0) {
  let tasks: (() => void)[] = [];
  let now = 0;
  const made: number[] = [];
  const turns = new FrameTurns<Client>({
    limits: LIMITS,
    defer: (task) => tasks.push(task),
    ticks: () => now,
    handle: (client, frame) => {
      client.got.push((frame as { id?: unknown }).id);
      if (frame.type !== 'history') return;
      now += ms;
      client.answered += answerBytes;
      made[made.length - 1] = (made.at(-1) ?? 0) + answerBytes;
    },
    log: { error: () => assert.fail('nothing fails here') },
  });
  made.push(0);
  return {
    turns,
    made,
    /** One turn of the loop. false: nothing was left to do. */
    turn(): boolean {
      const due = tasks;
      tasks = [];
      made.push(0);
      now++;
      for (const task of due) task();
      return due.length > 0;
    },
  };
}

const page = (id: number): Inbound => ({ type: 'history', room: 'r', id });
const ping = (id: number): Inbound => ({ type: 'ping', id }) as Inbound;
const pages = (count: number) => Array.from({ length: count }, (_, id) => page(id));

test('C5.7.1 a turn makes so many bytes of answers for all together, and at most one answer more', () => {
  const { turns, made, turn } = loop(400);
  const clients = Array.from({ length: 20 }, (_, n) => new Client(`u${n}`));
  for (const client of clients) turns.receive(client, pages(50), 1000);
  while (turn());
  for (const client of clients) assert.deepEqual(client.got, [...Array(50).keys()], 'all of it, in order');
  assert.ok(Math.max(...made) <= 1000 + 400, `${Math.max(...made)} in one turn`);
  assert.equal(turns.waiting, 0);
});

test('C5.7.1 users take turns, however many connections they have', () => {
  const { turns, turn } = loop(400);
  const many = Array.from({ length: 30 }, () => new Client('greedy'));
  for (const client of many) turns.receive(client, pages(20), 1000);
  const other = new Client('other');
  turns.receive(other, pages(3), 100);
  for (let n = 0; n < 4; n++) turn();
  assert.deepEqual(other.got, [0, 1, 2]);
});

test('what is cheap is not held up by what others ask for, and never overtakes its own', () => {
  const { turns, turn } = loop(2000);
  const [greedy, other] = [new Client('greedy'), new Client('other')];
  turns.receive(greedy, [page(1), page(2), ping(3)], 100);
  turns.receive(greedy, [ping(4)], 10);
  turns.receive(other, [ping(1)], 10);
  assert.deepEqual([greedy.got, other.got], [[1], [1]]);
  while (turn());
  assert.deepEqual(greedy.got, [1, 2, 3, 4]);
});

test('C5.7.2 nothing is made for a socket that has not sent what was made before', () => {
  const { turns, turn } = loop(400);
  const client = new Client('slow');
  turns.receive(client, [page(0)], 10);
  client.waiting = 501;
  turns.receive(client, [page(1), page(2)], 10);
  while (turn());
  assert.deepEqual(client.got, [0]);
  client.waiting = 0;
  turns.wake(client);
  while (turn());
  assert.deepEqual(client.got, [0, 1, 2]);
});

test('C5.7.2 one answer from elsewhere at a time', () => {
  const { turns, turn } = loop(400);
  const client = new Client('far');
  client.awaited = 1;
  turns.receive(client, [page(0), page(1)], 10);
  while (turn());
  assert.deepEqual(client.got, []);
  client.awaited = 0;
  turns.wake(client);
  while (turn());
  assert.deepEqual(client.got, [0, 1]);
});

test('a long batch of cheap frames is parted by time', () => {
  const { turns, turn } = loop(0, 5);
  const client = new Client('long');
  turns.receive(client, [page(0), ...Array.from({ length: 200 }, (_, n) => ping(n + 1))], 1000);
  assert.ok(client.got.length < 40, `${client.got.length} at once`);
  while (turn());
  assert.deepEqual(client.got, [...Array(201).keys()]);
});

test('more than may wait ends the connection; one that has ended leaves nothing', () => {
  const { turns, turn } = loop(2000);
  const client = new Client('flood');
  turns.receive(client, pages(3), 100);
  for (let n = 0; n < 5; n++) turns.receive(client, pages(3), 3000);
  assert.match(client.why, /inboundQueueBytes/);
  while (turn());
  assert.equal(turns.waiting, 0);
});
