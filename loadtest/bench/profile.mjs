/** Where the time went: the functions of a .cpuprofile by their own time. `node loadtest/bench/profile.mjs FILE [n]` */
import { readFileSync } from 'node:fs';
import { table } from '../support/stats.mjs';

const [file, most = '30'] = process.argv.slice(2);
if (file === undefined) throw new Error('which .cpuprofile?');
const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8'));

const own = new Map(nodes.map(({ id }) => [id, 0]));
samples.forEach((id, at) => {
  own.set(id, own.get(id) + timeDeltas[at]);
});

/** One line per function, however many call stacks lead to it. */
const functions = new Map();
for (const { id, callFrame } of nodes) {
  const { functionName, url, lineNumber } = callFrame;
  const place = url === '' ? '' : `${url.split('/').slice(-2).join('/')}:${lineNumber + 1}`;
  const key = `${functionName || '(anonymous)'} ${place}`;
  functions.set(key, (functions.get(key) ?? 0) + own.get(id));
}
const idle = functions.get('(idle) ') ?? 0;
functions.delete('(idle) ');
const busy = [...functions.values()].reduce((sum, us) => sum + us, 0);
const rows = [...functions]
  .sort(([, a], [, b]) => b - a)
  .slice(0, Number(most))
  .map(([name, us]) => [name, (us / 1000).toFixed(0), `${((us / busy) * 100).toFixed(1)} %`]);
console.log(`busy ${(busy / 1e6).toFixed(1)} s, idle ${(idle / 1e6).toFixed(1)} s\n`);
console.log(table([['function', 'ms', 'of busy'], ...rows]));
