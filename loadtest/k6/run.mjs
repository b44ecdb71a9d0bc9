/**
 * Runs one k6 scenario against a broker of its own: `node loadtest/k6/run.mjs smoke|fanout [k6 arguments]`.
 * The exit code is k6's: 0 when every threshold held, 99 when one did not.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../support/process.mjs';
import { mint } from '../support/token.mjs';
import { findK6 } from './find.mjs';

const USERS = 8;
const TREND = 'med,p(95),p(99),max';
const [scenario, ...rest] = process.argv.slice(2);
if (scenario === undefined) throw new Error('which scenario? smoke or fanout');
const script = fileURLToPath(new URL(`${scenario}.js`, import.meta.url));

async function k6(broker, directory) {
  const summary = join(directory, 'summary.json');
  const tokens = await Promise.all(Array.from({ length: USERS }, (_, user) => mint(`k6-${user}`)));
  const child = spawn(
    findK6(),
    ['run', '--quiet', '--summary-export', summary, '--summary-trend-stats', TREND, ...rest, script],
    {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        K6_NO_USAGE_REPORT: 'true',
        CARILLON_URL: `ws://${broker.listen.text}/connect`,
        CARILLON_TOKENS: JSON.stringify(tokens),
      },
    },
  );
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exit, signal) => resolve(exit ?? (signal === null ? 1 : 130)));
  });
  // A script that does not compile leaves no summary.
  return { code, metrics: existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')).metrics : {} };
}

function verdict(code, metrics) {
  const count = (name) => metrics[name]?.count ?? 0;
  const p99 = metrics.carillon_latency?.['p(99)'];
  return [
    `${scenario}: ${code === 0 ? 'passed' : `FAILED (k6 exit code ${code})`}`,
    `${count('carillon_published')} published, ${count('carillon_events')} received`,
    `${count('carillon_gaps')} gaps, ${count('carillon_errors')} errors`,
    p99 === undefined ? 'no latency measured' : `p99 ${p99.toFixed(0)} ms publish to receive`,
  ].join('; ');
}

const directory = mkdtempSync(join(tmpdir(), 'carillon-k6-run-'));
const broker = await startBroker();
try {
  const { code, metrics } = await k6(broker, directory);
  console.log(verdict(code, metrics));
  process.exitCode = code;
} finally {
  rmSync(directory, { recursive: true, force: true });
  const { code } = await broker.stop();
  if (code !== 0) {
    console.log(`the broker ended with ${code}:\n${broker.tail.join('\n')}`);
    process.exitCode = 1;
  }
}
