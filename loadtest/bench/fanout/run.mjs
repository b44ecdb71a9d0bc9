/**
 * Fan-out side by side: deliveries per server-CPU second of the broker and of bare uWebSockets.js servers, measured
 * in turns in one run. loadtest/README.md says how to read it.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { pinning } from '../../support/process.mjs';
import { Audience } from './audience.mjs';
import { judge, markdown, summarise } from './report.mjs';
import { SCENARIOS, TARGETS } from './targets.mjs';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    window: { type: 'string', default: '512' },
    payload: { type: 'string', default: '100' },
    scenario: { type: 'string', multiple: true },
    target: { type: 'string', multiple: true },
    main: { type: 'string', default: 'dist/main.js' },
    'cpu-prof': { type: 'string' },
    'node-arg': { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    markdown: { type: 'string' },
    'no-pin': { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
  },
});
const settings = {
  rounds: Number(flags.rounds ?? (flags.quick ? 3 : 5)),
  seconds: Number(flags.seconds ?? (flags.quick ? 1 : 3)),
  warmUpSeconds: flags.quick ? 1 : 2,
  window: Number(flags.window),
  payloadBytes: Number(flags.payload),
  pinned: !flags['no-pin'] && pinning(1).length > 0,
};
/** The server under test has CPU 0 for itself as far as the machine allows; clients and publisher use CPU 1. */
const SERVER_CORE = 0;
const CLIENT_CORE = 1;

function chosen() {
  const scenarios = flags.scenario ?? Object.keys(SCENARIOS);
  return scenarios.map((name) => {
    const scenario = SCENARIOS[name];
    if (scenario === undefined) throw new Error(`no scenario ${name}: ${Object.keys(SCENARIOS).join(', ')}`);
    const targets = scenario.targets.filter((target) => flags.target?.includes(target) ?? true);
    return { name, ...scenario, targets: targets.map((target) => TARGETS[target]) };
  });
}

function profiling(target, scenario) {
  const directory = flags['cpu-prof'];
  if (directory === undefined) return [];
  const name = `${scenario.name}-${target.name}.cpuprofile`;
  return ['--cpu-prof', `--cpu-prof-dir=${directory}`, `--cpu-prof-name=${name}`];
}

async function begin(target, scenario) {
  const nodeArgs = target.join === undefined ? [] : [...flags['node-arg'], ...profiling(target, scenario)];
  const core = settings.pinned ? SERVER_CORE : undefined;
  const server = await target.start({ main: flags.main, nodeArgs, core });
  const audience = await Audience.open(target, server, scenario.subscribers, settings.payloadBytes);
  return { target, server, audience, samples: [] };
}

/** A B C, then C B A, and so on: no target always runs first or after the same neighbour. */
async function runScenario(scenario) {
  const running = [];
  try {
    for (const target of scenario.targets) running.push(await begin(target, scenario));
    const load = { window: settings.window, paced: scenario.paced };
    for (const { server, audience } of running)
      await audience.measure(server.pid, settings.warmUpSeconds, load);
    const rounds = settings.rounds * (scenario.roundsTimes ?? 1);
    for (let round = 0; round < rounds; round++) {
      for (const one of round % 2 === 0 ? running : [...running].reverse()) {
        one.samples.push(await one.audience.measure(one.server.pid, settings.seconds, load));
      }
    }
  } finally {
    for (const { audience, server } of running) {
      audience.close();
      await server.stop();
    }
  }
  return summarise(scenario, running);
}

function save(file, text) {
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

if (settings.pinned)
  execFileSync('taskset', ['-acp', String(CLIENT_CORE), String(process.pid)], { stdio: 'ignore' });
const results = [];
for (const scenario of chosen()) {
  const result = await runScenario(scenario);
  results.push(result);
  console.log(markdown([result]));
}
const verdicts = judge(results);
for (const { text } of verdicts) console.log(text);
const report = { at: new Date().toISOString(), node: process.version, settings, results, verdicts };
save(flags.json, `${JSON.stringify(report, undefined, 2)}\n`);
save(flags.markdown, `${markdown(results)}\n${verdicts.map(({ text }) => `- ${text}`).join('\n')}\n`);
process.exit(flags.check && verdicts.some(({ ok }) => !ok) ? 1 : 0);
