/** The search as a command: `npm run search:cost -- --seed 1 --tries 5000` prints the dearest messages it has found. */
import { parseArgs } from 'node:util';
import { Bench, type Cost, search } from './search.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, tries: { type: 'string', default: '2000' } },
});
const bench = new Bench(() => performance.now());
const scores: Readonly<Record<string, (cost: Cost) => number>> = {
  'longest turn, ms': ({ turnMs }) => turnMs,
  'most bytes in a turn': ({ turnBytes }) => turnBytes,
  'most bytes out per byte in': ({ bytesOut, bytesIn }) => bytesOut / bytesIn,
};
for (const [what, score] of Object.entries(scores)) {
  const found = search(bench, Number(values.seed), Number(values.tries), score);
  const kinds = new Map<string, number>();
  for (const { type } of found.frames) kinds.set(String(type), (kinds.get(String(type)) ?? 0) + 1);
  const { encoding, connections, cost } = found;
  console.log(what, JSON.stringify({ frames: Object.fromEntries(kinds), encoding, connections, ...cost }));
}
