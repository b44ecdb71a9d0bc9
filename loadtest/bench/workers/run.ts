/** What several workers cost and bring beside one process, all on one nats-server of this machine. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { NatsCluster } from '../../../test/support/nats/cluster.ts';
import { type FanoutCost, fanoutCost } from './fanout.ts';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    rate: { type: 'string', default: '1000' },
    workers: { type: 'string', multiple: true, default: ['1', '2'] },
    markdown: { type: 'string' },
  },
});

const shown = (value: number) => value.toFixed(value < 10 ? 2 : 0);

function table(load: string, costs: readonly FanoutCost[]): string {
  return [
    `| workers (${load}) | deliveries/s | µs CPU per delivery | p50 ms | p99 ms | MB resident, idle |`,
    '| --- | ---: | ---: | ---: | ---: | ---: |',
    ...costs.map(
      (cost) =>
        `| ${cost.workers} | ${shown(cost.deliveriesPerSecond)} | ${shown(cost.cpuUs)} | ${shown(cost.p50Ms)} | ${shown(cost.p99Ms)} | ${shown(cost.residentMb)} |`,
    ),
  ].join('\n');
}

const tables: string[] = [];
const seconds = Number(flags.seconds);
const nats = await NatsCluster.start(1);
try {
  for (const [load, rate] of [
    [`${flags.rate} publishes/s`, Number(flags.rate)],
    ['as many as it takes', 0],
  ] as const) {
    const costs: FanoutCost[] = [];
    for (const workers of flags.workers)
      costs.push(await fanoutCost(Number(workers), nats.urls, { seconds, rate }));
    tables.push(table(load, costs));
  }
} finally {
  await nats.close();
}
const text = `${tables.join('\n\n')}\n`;
console.log(text);
if (flags.markdown !== undefined) {
  mkdirSync(dirname(flags.markdown), { recursive: true });
  writeFileSync(flags.markdown, text);
}
