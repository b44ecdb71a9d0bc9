import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { Networks } from '../../../src/broker/exclusion/bans.ts';
import { parseAddress, parseNetwork, showNetwork } from '../../../src/broker/exclusion/network.ts';

const v4 = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
/** Close to one another, or random prefixes would never meet. */
const v6 = fc
  .array(fc.constantFrom('0', '1', 'ffff', '8000', 'abcd'), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.join(':'));
const cidr4 = fc.tuple(v4, fc.integer({ min: 1, max: 32 })).map(([text, bits]) => `${text}/${bits}`);
const cidr6 = fc.tuple(v6, fc.integer({ min: 1, max: 128 })).map(([text, bits]) => `${text}/${bits}`);

function network(text: string) {
  const parsed = parseNetwork(text);
  assert.ok(parsed, text);
  return parsed;
}

function address(text: string) {
  const parsed = parseAddress(text);
  assert.ok(parsed, text);
  return parsed;
}

/** Bit by bit, as the definition of a prefix has it. */
function contains(cidr: string, text: string): boolean {
  const { family, groups, bits } = network(cidr);
  const one = address(text);
  const binary = (numbers: readonly number[]) =>
    numbers.map((number) => number.toString(2).padStart(16, '0')).join('');
  return family === one.family && binary(one.groups).startsWith(binary(groups).slice(0, bits));
}

test('an address is found where a naive search finds it, through additions and removals', () => {
  const change = fc.record({ cidr: fc.oneof(cidr4, cidr6), there: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), fc.array(fc.oneof(v4, v6)), (changes, addresses) => {
      const networks = new Networks<string>();
      const naive = new Map<string, string>();
      for (const { cidr, there } of changes) {
        const parsed = network(cidr);
        const shown = showNetwork(parsed);
        networks.change(parsed, there ? shown : undefined);
        if (there) naive.set(shown, cidr);
        else naive.delete(shown);
      }
      assert.equal(networks.empty, naive.size === 0);
      for (const text of addresses) {
        const found = networks.find(address(text));
        const expected = [...naive.values()].filter((cidr) => contains(cidr, text));
        assert.equal(found !== undefined, expected.length > 0, `${text} in ${[...naive.keys()].join(' ')}`);
        if (found !== undefined) assert.ok(contains(found, text));
      }
    }),
    { numRuns: 500 },
  );
});

test('what Node takes for the network of a prefix is taken for it here', () => {
  const pair = fc.oneof(
    fc.record({ family: fc.constant('ipv4' as const), cidr: cidr4, text: v4 }),
    fc.record({ family: fc.constant('ipv6' as const), cidr: cidr6, text: v6 }),
  );
  fc.assert(
    fc.property(pair, ({ family, cidr, text }) => {
      const [base = '', bits] = cidr.split('/');
      const list = new BlockList();
      list.addSubnet(base, Number(bits), family);
      assert.equal(contains(cidr, text), list.check(text, family));
    }),
    { numRuns: 500 },
  );
});

test('one way to write a network: shown and read again it is the same', () => {
  fc.assert(
    fc.property(fc.oneof(cidr4, cidr6), (cidr) => {
      const parsed = network(cidr);
      assert.deepEqual(parseNetwork(showNetwork(parsed)), parsed);
    }),
  );
  const forms: readonly (readonly [string, string])[] = [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3'],
    ['2001:DB8:0:0::1/32', '2001:db8::/32'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3/120', '10.1.2.0/24'],
    ['::/16', '::/16'],
  ];
  for (const [text, shown] of forms) assert.equal(showNetwork(network(text)), shown, text);
});

test('what is no network is refused', () => {
  const bad = [
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    '010.0.0.1',
    '10.0.0.256',
    '::/129',
    '10.0.0.0/-1',
    '10.0.0.0/',
    'a',
  ];
  for (const text of [...bad, '10.0.0.0/8/8', '1::2::3', '::1%eth0', '10.0.0.1 ', '/8', 'example.com'])
    assert.equal(parseNetwork(text), undefined, text);
});
