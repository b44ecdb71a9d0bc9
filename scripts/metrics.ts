/** Writes docs/operations/metrics.md, whose table is what the broker exports: `npm run metrics`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describedMetrics, OPEN_LABELS } from '../src/ops/described.ts';
import { createSupervisorMetrics } from '../src/supervisor/metrics.ts';

const page = new URL('../docs/operations/metrics.md', import.meta.url);
const BEGIN = '<!-- made by npm run metrics -->';

interface Row {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** The values of each label. */
  readonly labels: Map<string, Set<string>>;
}

/** The page with its table made anew. */
export async function metricsPage(text: string): Promise<string> {
  if (!text.includes(BEGIN)) throw new Error('docs/operations/metrics.md has no mark');
  const head = text.slice(0, text.indexOf(BEGIN) + BEGIN.length);
  const rows = rowsOf(await exposition()).map(
    ({ name, type, help, labels }) => `| \`${name}\` | ${type} | ${shown(labels)} | ${help.replaceAll('|', '\\|')} |`,
  );
  return `${head}\n\n| metric | type | label | what |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

function rowsOf(text: string): Row[] {
  const rows = new Map<string, Row>();
  for (const line of text.split('\n')) {
    const [, word = '', name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    const known = rows.get(name);
    if (word === 'HELP') rows.set(name, { name, type: '', help: rest, labels: new Map() });
    else if (word === 'TYPE' && known !== undefined) rows.set(name, { ...known, type: rest });
    else noteLabels(rows, line);
  }
  return [...rows.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The exposition of everything that a broker, and the supervisor of several, can export. */
export async function exposition(): Promise<string> {
  return `${(await describedMetrics()).trimEnd()}\n\n${await workers()}`;
}

/** What the supervisor has that brokers have not. */
async function workers(): Promise<string> {
  const metrics = createSupervisorMetrics({
    version: '0.0.0',
    states: () => ({ ready: 0, starting: 0, restarting: 0 }),
    ends: { exit: 0, signal: 0, stuck: 0 },
    unanswered: () => 0,
  });
  const readings = await metrics.readings();
  metrics.close();
  const families = readings
    .filter(({ name }) => name.startsWith('carillon_worker'))
    .map(({ name, help, type, values }) => {
      const samples = values.map(({ labels, value }) => {
        const named = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
        return `${name}${named.length === 0 ? '' : `{${named.join(',')}}`} ${value}`;
      });
      return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples].join('\n');
    });
  return `${families.join('\n\n')}\n`;
}

function noteLabels(rows: ReadonlyMap<string, Row>, line: string): void {
  const [, sample = '', labels = ''] = /^(\w+)\{(.*)\} /.exec(line) ?? [];
  const row = rows.get(sample);
  if (row === undefined) return;
  for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g))
    row.labels.set(label, (row.labels.get(label) ?? new Set()).add(value));
}

function shown(labels: Row['labels']): string {
  return [...labels]
    .map(([label, values]) => (OPEN_LABELS.has(label) ? `\`${label}\`` : `\`${label}\`: ${[...values].join(', ')}`))
    .join('; ');
}

if (process.argv[1] === page.pathname.replace('docs/operations/metrics.md', 'scripts/metrics.ts'))
  writeFileSync(page, await metricsPage(readFileSync(page, 'utf8')));
