/**
 * What several pods on NATS cost beside one on the embedded bus and beside programs on the bare client, and how a
 * pod with very many rooms comes through a restart of NATS. loadtest/README.md says how to read it.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { cost } from './cost.mjs';
import { costMarkdown, restartMarkdown } from './report.mjs';
import { restart } from './restart.mjs';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    kind: { type: 'string', multiple: true, default: ['durable', 'live'] },
    rooms: { type: 'string', multiple: true, default: ['500', '5000'] },
    servers: { type: 'string', multiple: true, default: ['1'] },
    target: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '1.5' },
    window: { type: 'string', default: '512' },
    rate: { type: 'string', default: '1000' },
    payload: { type: 'string', default: '100' },
    'restart-rooms': { type: 'string', default: '100000' },
    main: { type: 'string', default: 'dist/main.js' },
    json: { type: 'string' },
    markdown: { type: 'string' },
  },
});
const settings = {
  rounds: Number(flags.rounds),
  seconds: Number(flags.seconds),
  warmUpSeconds: 2,
  window: Number(flags.window),
  rate: Number(flags.rate),
  payloadBytes: Number(flags.payload),
  restartRooms: Number(flags['restart-rooms']),
  targets: flags.target,
  main: flags.main,
};
const wanted = (part) => flags.only?.includes(part) ?? true;

const results = { cost: [], restart: [] };
const texts = [];

function found(part, result, text) {
  results[part].push(result);
  texts.push(text);
  console.log(text);
}

function save(file, text) {
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function saveAll() {
  const report = { at: new Date().toISOString(), node: process.version, settings, ...results };
  save(flags.json, `${JSON.stringify(report, undefined, 2)}\n`);
  save(flags.markdown, `${texts.join('\n')}\n`);
}

async function costs() {
  for (const servers of flags.servers)
    for (const kind of flags.kind)
      for (const rooms of flags.rooms) {
        const result = await cost(kind, Number(rooms), Number(servers), settings);
        found('cost', result, costMarkdown(result));
        saveAll();
      }
}

if (wanted('cost')) await costs();
if (wanted('restart')) {
  for (const kind of flags.kind) {
    const result = await restart(kind, settings);
    found('restart', result, restartMarkdown(result));
    saveAll();
  }
}
process.exit(0);
