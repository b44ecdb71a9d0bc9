/** What presence costs in a room of thousands on four brokers, by mode, with batches and without. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { cell, MODES, mintAll } from './pods.mjs';
import { markdown, missedMarks } from './report.mjs';

const { values: flags } = parseArgs({
  options: {
    /** MODE:MILLISECONDS of presence.batchMs. */
    cell: {
      type: 'string',
      multiple: true,
      default: ['full:100', 'delta:100', 'delta:0', 'count:100', 'count:0'],
    },
    members: { type: 'string', default: '10000' },
    /** On each broker. */
    watchers: { type: 'string', default: '25' },
    /** Members that leave each second, and come back a second later. */
    rate: { type: 'string', default: '200' },
    seconds: { type: 'string', default: '20' },
    main: { type: 'string', default: 'dist/main.js' },
    json: { type: 'string' },
    markdown: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
const number = (name) => Number(flags[name]);
const load = {
  members: number('members'),
  watchers: number('watchers'),
  rate: number('rate'),
  seconds: number('seconds'),
};
const cells = flags.cell.map((text) => {
  const [mode, batchMs] = text.split(':');
  if (!(mode in MODES)) throw new Error(`--cell ${text}: there is no mode ${mode}`);
  return { ...load, mode, batchMs: Number(batchMs), main: flags.main };
});

function save(file, text) {
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const people = await mintAll(load);
const results = [];
for (const settings of cells) {
  console.error(`${settings.mode}, batches of ${settings.batchMs} ms`);
  results.push(await cell(settings, people));
}
const text = markdown(results, load);
console.log(text);
save(flags.json, `${JSON.stringify({ at: new Date().toISOString(), flags, results }, undefined, 2)}\n`);
save(flags.markdown, text);
const missed = results.flatMap(missedMarks);
for (const line of missed) console.log(`missed: ${line}`);
process.exit(flags.check && missed.length > 0 ? 1 : 0);
