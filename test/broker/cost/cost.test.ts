/** Whatever a client sends within its limits, one turn of the loop makes a bounded amount for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../../support/limits.ts';
import { Bench, type Cost, type Found, search } from './search.ts';

const bench = new Bench(() => 0);
/** An answer is made whole: a page of history, or the members of the room with their descriptions. */
const ANSWER = 1_400_000;

function shown({ frames, encoding, connections, cost }: Found): string {
  const kinds = new Map<string, number>();
  for (const { type } of frames) kinds.set(String(type), (kinds.get(String(type)) ?? 0) + 1);
  return JSON.stringify({ kinds: [...kinds], encoding, connections, cost });
}

const SEED = 7;
const TRIES = 120;

test(`C5.7.1 the dearest turn that a search finds makes a bounded amount (seed ${SEED})`, () => {
  const found = search(bench, SEED, TRIES, ({ turnBytes }: Cost) => turnBytes);
  assert.ok(
    found.cost.turnBytes > LIMITS.turnAnswerBytes / 4,
    `the search finds nothing dear: ${shown(found)}`,
  );
  assert.ok(found.cost.turnBytes <= LIMITS.turnAnswerBytes + ANSWER, shown(found));
});

test(`one frame brings one answer, or the few that it asks for (seed ${SEED})`, () => {
  const found = search(bench, SEED + 1, TRIES, ({ framesOut, bytesIn }: Cost) => framesOut / bytesIn);
  // A join answers with what it replays, in arrays.
  assert.ok(found.cost.framesOut <= 8 * found.frames.length * found.connections + 8, shown(found));
});

test('the old attacks: 240 pages of history, or lists of members, on twenty connections', () => {
  for (const encoding of ['json', 'msgpack'] as const)
    for (const frame of [
      { type: 'history', room: 'big', limit: 1000 },
      { type: 'presence', room: 'full' },
    ]) {
      const { turnBytes } = bench.cost(
        Array.from({ length: 240 }, () => frame),
        encoding,
        20,
      );
      assert.ok(turnBytes <= LIMITS.turnAnswerBytes + ANSWER, `${frame.type} ${encoding}: ${turnBytes}`);
    }
});
