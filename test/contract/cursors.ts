/** What every `Cursors` promises (src/broker/ports.ts), as tests that each implementation runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Cursors, Fault, RoomRef } from '../../src/broker/ports.ts';
import type { Position } from '../../src/protocol/frames.ts';
import { roomRef } from '../support/rooms.ts';

export interface CursorsUnderTest {
  readonly cursors: Cursors;
  /** The same cursors on another node; the same object where there is but one. */
  readonly peer: Cursors;
  /** The present epoch of all rooms. */
  readonly epoch: string;
  /** Ends it; the one that follows. */
  renew(): Promise<string>;
  close(): Promise<void>;
}

const PATIENCE_MS = 5000;

export function get(cursors: Cursors, room: RoomRef, user: string): Promise<Position | undefined | Fault> {
  return new Promise((resolve) => {
    let answered = false;
    cursors.get(room, user, (cursor) => {
      if (answered) throw new Error('a question for a cursor was answered twice');
      answered = true;
      resolve(cursor);
    });
  });
}

/** Until the node says so; what it said last is in the failure. */
export async function becomes(
  cursors: Cursors,
  room: RoomRef,
  user: string,
  wanted: Position | undefined,
): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const cursor = await get(cursors, room, user);
    if (Date.now() > until || JSON.stringify(cursor) === JSON.stringify(wanted)) {
      assert.deepEqual(cursor, wanted);
      return;
    }
    await sleep(10);
  }
}

/** Lone surrogates do not get past the token check, and everything else that prints does. */
const USERS = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 128 });

interface Move {
  readonly here: boolean;
  readonly seq: number;
  readonly flush: boolean;
  readonly pauseMs: number;
}

const MOVES = fc.array(
  fc.record<Move>({
    here: fc.boolean(),
    seq: fc.nat({ max: 1000 }),
    flush: fc.boolean(),
    pauseMs: fc.nat({ max: 3 }),
  }),
  { minLength: 1, maxLength: 12 },
);

async function greatestStands(
  { cursors, peer, epoch }: CursorsUnderTest,
  moves: readonly Move[],
  user: string,
): Promise<void> {
  const room = roomRef('list:a');
  for (const { here, seq, flush, pauseMs } of moves) {
    const node = here ? cursors : peer;
    node.put(room, user, { epoch, seq });
    if (flush) node.flush(room, user);
    if (pauseMs > 0) await sleep(pauseMs);
  }
  for (const node of [cursors, peer]) node.flush(room, user);
  const seq = Math.max(...moves.map((move) => move.seq));
  for (const node of [cursors, peer]) await becomes(node, room, user, { epoch, seq });
}

export function cursorsContract(name: string, make: () => Promise<CursorsUnderTest>): void {
  const promised = (title: string, body: (subject: CursorsUnderTest) => Promise<void>) =>
    test(`${name}: ${title}`, { timeout: 30_000 }, async (context) => {
      const subject = await make();
      context.after(() => subject.close());
      await body(subject);
    });

  promised('a user who has seen nothing has no cursor', async ({ cursors, peer }) => {
    assert.equal(await get(cursors, roomRef('@ann'), 'ann'), undefined);
    assert.equal(await get(peer, roomRef('@ann'), 'ann'), undefined);
  });

  promised('a node knows its own moves at once, the others soon', async ({ cursors, peer, epoch }) => {
    const room = roomRef('@ann');
    for (const seq of [3, 7]) {
      assert.equal(cursors.put(room, 'ann', { epoch, seq }), undefined);
      assert.deepEqual(await get(cursors, room, 'ann'), { epoch, seq });
    }
    await becomes(peer, room, 'ann', { epoch, seq: 7 });
  });

  promised('a flush leaves nothing to wait for, whether or not something waits', async (subject) => {
    const { cursors, peer, epoch } = subject;
    const room = roomRef('@ann');
    cursors.flush(room, 'ann');
    cursors.put(room, 'ann', { epoch, seq: 5 });
    cursors.flush(room, 'ann');
    cursors.flush(room, 'ann');
    await becomes(peer, room, 'ann', { epoch, seq: 5 });
    cursors.put(room, 'ann', { epoch, seq: 6 });
    await becomes(peer, room, 'ann', { epoch, seq: 6 });
  });

  promised('rooms, tenants and users have cursors of their own', async ({ cursors, peer, epoch }) => {
    const places = [
      [roomRef('a'), 'ann'],
      [roomRef('b'), 'ann'],
      [roomRef('a'), 'bob'],
      [roomRef('a.b'), 'ann'],
      [roomRef('a', roomRef('a').policy, 'other'), 'ann'],
    ] as const;
    for (const [at, [room, user]] of places.entries()) cursors.put(room, user, { epoch, seq: at + 1 });
    for (const [at, [room, user]] of places.entries())
      await becomes(peer, room, user, { epoch, seq: at + 1 });
  });

  promised('whatever a user is called', async ({ cursors, peer, epoch }) => {
    const users = [
      ...new Set(fc.sample(USERS, { numRuns: 40, seed: 7 })),
      '.',
      '>',
      '*',
      'a b',
      '%',
      '%41',
      '🎈'.repeat(128),
      `${'🎈'.repeat(127)}!`,
    ];
    const room = roomRef('r'.repeat(128));
    for (const [at, user] of users.entries()) cursors.put(room, user, { epoch, seq: at + 1 });
    for (const [at, user] of users.entries()) {
      // The last of two equal ones counts.
      const seq = Math.max(at, users.lastIndexOf(user)) + 1;
      await becomes(peer, room, user, { epoch, seq });
    }
  });

  promised('of moves on two nodes the greatest stands, in whatever order they come', async (subject) => {
    let n = 0;
    await fc.assert(
      fc.asyncProperty(MOVES, (moves) => greatestStands(subject, moves, `user-${n++}`)),
      { numRuns: 30 },
    );
  });

  promised('a cursor of the present epoch replaces one of an epoch that is over', async (subject) => {
    const { cursors, peer, epoch } = subject;
    const room = roomRef('@ann');
    cursors.put(room, 'ann', { epoch, seq: 900 });
    await becomes(peer, room, 'ann', { epoch, seq: 900 });
    const next = await subject.renew();
    assert.deepEqual(await get(peer, room, 'ann'), { epoch, seq: 900 }, 'until somebody says otherwise');
    peer.put(room, 'ann', { epoch: next, seq: 2 });
    await becomes(cursors, room, 'ann', { epoch: next, seq: 2 });
    await becomes(peer, room, 'ann', { epoch: next, seq: 2 });
  });
}
