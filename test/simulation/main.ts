/** `npm run simulate -- --seeds 1000 --steps 3000 --from 1`: the simulation for as long as one likes. */
import { parseArgs } from 'node:util';
import { simulate } from './run.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    steps: { type: 'string', default: '2000' },
    from: { type: 'string', default: '1' },
  },
});
const [seeds, steps, from] = [Number(values.seeds), Number(values.steps), Number(values.from)];
const met = new Map<string, number>();
const startedAt = performance.now();
let failed = 0;
let run = 0;
for (let seed = from; seed < from + seeds; seed++) {
  run++;
  try {
    simulate(seed, steps, met);
  } catch (error) {
    failed++;
    console.error(error instanceof Error ? error.message : error);
    if (failed >= 3) break;
  }
}
const seconds = (performance.now() - startedAt) / 1000;
console.log(Object.fromEntries([...met].sort()));
console.log(`${run} seeds from ${from}, ${run * steps} steps in ${seconds.toFixed(1)} s, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
