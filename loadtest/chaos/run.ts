/**
 * Brokers on a three-node NATS cluster, resuming clients, publishers, and everything that may break does, in turn.
 * `npm run chaos` is the full run, `npm run chaos:short` a taste. Exits with 1 when a promise was broken, an event
 * was only excused by a gap, or a publish was refused in the end.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { chaos } from './chaos.ts';
import { faultList, markdown } from './report.ts';
import { FAULTS, type FaultKind } from './timetable.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string', default: '300' },
    brokers: { type: 'string', default: '2' },
    rate: { type: 'string', default: '4000' },
    rooms: { type: 'string', default: '200' },
    clients: { type: 'string', default: '16' },
    publishers: { type: 'string', default: '8' },
    fanout: { type: 'string', default: '2' },
    faults: { type: 'string', default: Object.keys(FAULTS).join(',') },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(`--seed --seconds --brokers --rate --rooms --clients --publishers --fanout (subscribers of each room)
--faults, a list with commas of:\n${faultList()}\n`);
  process.exit(0);
}

const options = {
  seed: values.seed === undefined ? randomInt(2 ** 31) : whole('seed', values.seed),
  seconds: whole('seconds', values.seconds),
  brokers: whole('brokers', values.brokers),
  rate: whole('rate', values.rate),
  rooms: whole('rooms', values.rooms),
  clients: whole('clients', values.clients),
  publishers: whole('publishers', values.publishers),
  fanout: whole('fanout', values.fanout),
  faults: values.faults.split(',').map(faultOf),
  say: (text: string) => process.stderr.write(`${text}\n`),
};
if (options.fanout > options.clients) usage('--fanout is more than --clients');
options.say(`seed ${options.seed}`);

const report = await chaos(options);
process.stdout.write(`${markdown(options, report)}\n`);
process.exit(report.passed ? 0 : 1);

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < (name === 'seed' ? 0 : 1))
    usage(`--${name}: ${text} is no whole number`);
  return value;
}

function faultOf(name: string): FaultKind {
  if (!(name in FAULTS)) usage(`no fault ${name}; there are:\n${faultList()}`);
  return name as FaultKind;
}

function usage(problem: string): never {
  process.stderr.write(`${problem}\n`);
  process.exit(2);
}
