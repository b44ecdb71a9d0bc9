/** A rolling restart of all brokers under clients that resume. loadtest/README.md says how to read it. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { picture } from './picture.mjs';
import { curve, judge, markdown, missedMarks } from './report.mjs';
import { rollingRestart } from './stage.mjs';

const { values: flags } = parseArgs({
  options: {
    brokers: { type: 'string', default: '3' },
    clients: { type: 'string', default: '5000' },
    processes: { type: 'string', default: '3' },
    rooms: { type: 'string', default: '50' },
    /** Durable publishes a second over all rooms. */
    rate: { type: 'string', default: '40' },
    bystanders: { type: 'string', default: '60' },
    /** For each broker. */
    watchers: { type: 'string', default: '2' },
    /** none or haproxy. */
    proxy: { type: 'string', default: 'none' },
    /** drain.perSecond: what each broker takes of the others' clients in a second; 0: as shipped. */
    'per-second': { type: 'string', default: '0' },
    /** drain.deadlineMs, in seconds; 0: as shipped. */
    deadline: { type: 'string', default: '0' },
    calm: { type: 'string', default: '10' },
    between: { type: 'string', default: '5' },
    json: { type: 'string' },
    markdown: { type: 'string' },
    svg: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
if (!['none', 'haproxy'].includes(flags.proxy)) throw new Error(`--proxy ${flags.proxy}: none or haproxy`);
const number = (name) => Number(flags[name]);
const names = ['brokers', 'clients', 'processes', 'rooms', 'rate', 'bystanders', 'watchers'];
const settings = {
  ...Object.fromEntries(names.map((name) => [name, number(name)])),
  proxy: flags.proxy,
  perSecond: number('per-second'),
  deadline: number('deadline'),
  calmMs: number('calm') * 1000,
  betweenMs: number('between') * 1000,
};

function save(file, text) {
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const run = await rollingRestart(settings, (line) => console.error(line));
const rows = curve(run);
const result = judge(run, rows);
const report = markdown(run, result, rows, settings);
console.log(report);
const title = `Rolling restart of ${settings.brokers} brokers, ${run.users} clients${settings.proxy === 'none' ? '' : `, ${settings.proxy}`}`;
save(flags.svg, picture(title, rows, run));
save(flags.markdown, report);
save(
  flags.json,
  `${JSON.stringify({ at: new Date().toISOString(), flags, result, rows, windows: run.windows }, undefined, 2)}\n`,
);
const missed = missedMarks(result, run);
for (const line of missed) console.log(`missed: ${line}`);
process.exit(flags.check && missed.length > 0 ? 1 : 0);
