import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RoundRobin, type RoundRobinItem } from '../../src/broker/round-robin.ts';

class Item implements RoundRobinItem {
  roundRobinIndex = -1;
}

test('an empty one has nobody to visit', () => {
  const round = new RoundRobin<Item>();
  assert.equal(round.next(), undefined);
  const item = new Item();
  round.add(item);
  round.remove(item);
  round.remove(item);
  assert.equal(round.next(), undefined);
});

/** Adds or removes one of those that do not stay. */
function change(round: RoundRobin<Item>, others: Item[], what: string, at: number): void {
  if (what === 'add') {
    const item = new Item();
    others.push(item);
    round.add(item);
  } else if (what === 'remove' && others.length > 0) {
    round.remove(others.splice(at % others.length, 1)[0] as Item);
  }
}

const changes = fc.array(fc.tuple(fc.constantFrom('add', 'remove', 'none'), fc.nat()), { maxLength: 60 });

test('whoever stays is visited again and again, whatever comes and goes meanwhile', () => {
  const property = fc.property(fc.integer({ min: 1, max: 12 }), changes, (staying, steps) => {
    const round = new RoundRobin<Item>();
    const stays = Array.from({ length: staying }, () => new Item());
    const others: Item[] = [];
    for (const item of stays) round.add(item);
    const visits: (Item | undefined)[] = [];
    for (const [what, at] of steps) {
      change(round, others, what, at);
      visits.push(round.next());
    }
    // Rounds have at most as many members as there ever were.
    const most = 2 * (staying + steps.length);
    assert.ok(visits.length < most || stays.every((item) => visits.slice(-most).includes(item)));
    const seen = new Set<Item | undefined>();
    for (let n = 0; n < 2 * round.size; n++) seen.add(round.next());
    assert.ok(stays.every((item) => seen.has(item)));
    assert.equal(round.size, staying + others.length);
  });
  fc.assert(property);
});
