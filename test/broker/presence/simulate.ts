/** `npm run simulate:presence -- --members 1000000 --nodes 20 --overlap 0.15 --seconds 60 --seed 1 --seeds 1` */
import { parseArgs } from 'node:util';
import { CROWD, crowd } from './crowd.ts';

/** Three standard deviations of the worst spread there is (docs/protocol.md, 4.8.5). */
const BOUND = (3 * 1.3) / Math.sqrt(CROWD.settings.sketch);

const option = (value: number) => ({ type: 'string', default: String(value) }) as const;
const { values } = parseArgs({
  options: {
    members: option(CROWD.members),
    nodes: option(CROWD.nodes),
    overlap: option(CROWD.overlap),
    seconds: option(CROWD.seconds),
    churn: option(CROWD.churn),
    seed: option(CROWD.seed),
    seeds: option(1),
  },
});
const { seed, seeds, ...numbers } = Object.fromEntries(
  Object.entries(values).map(([name, value]) => [name, Number(value)]),
);
const percent = (share: number): string => `${(share * 100).toFixed(3)} %`;
for (let at = 0; at < Number(seeds); at++) {
  const options = { ...CROWD, ...numbers, seed: Number(seed) + at };
  const { worstDuring, worstAfter, ...rest } = crowd(options);
  console.log({
    seed: options.seed,
    worstDuring: percent(worstDuring),
    worstAfter: percent(worstAfter),
    ...rest,
  });
  if (worstAfter > BOUND) process.exitCode = 1;
}
