/** What several workers cost and bring beside one process: the bus between them, and a broker under the same load. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { type BusCost, busCosts } from './bus.ts';
import { type FanoutCost, fanoutCost } from './fanout.ts';

const { values: flags } = parseArgs({
  options: {
    messages: { type: 'string', default: '200000' },
    seconds: { type: 'string', default: '8' },
    rate: { type: 'string', default: '1000' },
    workers: { type: 'string', multiple: true, default: ['1', '2'] },
    markdown: { type: 'string' },
  },
});

const one = (value: number) => value.toFixed(value < 10 ? 2 : 0);

function busTable(costs: readonly BusCost[]): string {
  return [
    '| bus | messages/s | µs CPU, broker | µs CPU, hub | one alone, µs |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...costs.map(
      (cost) =>
        `| ${cost.name} | ${one(cost.perSecond)} | ${one(cost.brokerUs)} | ${one(cost.hubUs)} | ${one(cost.alone)} |`,
    ),
  ].join('\n');
}

function fanoutTable(load: string, costs: readonly FanoutCost[]): string {
  return [
    `| workers (${load}) | deliveries/s | µs CPU per delivery | p50 ms | p99 ms | MB resident, idle |`,
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...costs.map(
      (cost) =>
        `| ${cost.workers} | ${one(cost.deliveriesPerSecond)} | ${one(cost.cpuUs)} | ${one(cost.p50Ms)} | ${one(cost.p99Ms)} | ${one(cost.residentMb)} |`,
    ),
  ].join('\n');
}

const tables: string[] = [busTable(await busCosts(Number(flags.messages)))];
const seconds = Number(flags.seconds);
for (const [load, rate] of [
  [`${flags.rate} publishes/s`, Number(flags.rate)],
  ['as many as it takes', 0],
] as const) {
  const costs: FanoutCost[] = [];
  for (const workers of flags.workers) costs.push(await fanoutCost(Number(workers), { seconds, rate }));
  tables.push(fanoutTable(load, costs));
}
const text = `${tables.join('\n\n')}\n`;
console.log(text);
if (flags.markdown !== undefined) {
  mkdirSync(dirname(flags.markdown), { recursive: true });
  writeFileSync(flags.markdown, text);
}
