/**
 * Writes what of the chart is made: README.md from values.yaml, values.schema.json from the broker's, and copies of the
 * files that Prometheus and Grafana need. `npm run chart`.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';
import { valuesSchema } from './values-schema.ts';

const chart = new URL('../helm/carillon/', import.meta.url);
const BEGIN = '<!-- made from values.yaml by npm run chart -->';

/** Copies, since helm packages links as what they point to, or not at all, and other tools as links: from, to. */
export const COPIES: readonly (readonly [from: string, to: string])[] = [
  ['config/alerts/carillon.yaml', 'helm/carillon/files/alerts.yaml'],
  ['config/grafana/carillon.json', 'helm/carillon/files/dashboard.json'],
];

interface Row {
  readonly key: string;
  readonly value: string;
  readonly text: string;
}

/** The README with its table made anew. Throws for a value without a comment. */
export function chartReadme(readme: string, values: string): string {
  const head = readme.slice(0, readme.indexOf(BEGIN) + BEGIN.length);
  const root = parseDocument(values).contents;
  if (!isMap(root) || !readme.includes(BEGIN)) throw new Error('values.yaml is no mapping, or README.md has no mark');
  const lines = rows(root as YAMLMap, '').map(({ key, value, text }) => `| \`${key}\` | \`${value}\` | ${text} |`);
  return `${head}\n\n| value | default | what |\n| --- | --- | --- |\n${lines.join('\n')}\n`;
}

function rows(map: YAMLMap, under: string): Row[] {
  return (map.items as Pair[]).flatMap((pair, at) => {
    if (!isScalar(pair.key)) throw new Error(`a key under ${under} is no text`);
    const key = `${under}${pair.key.value}`;
    // The library gives the comment of a mapping's first key to the mapping.
    const comment = pair.key.commentBefore ?? (at === 0 ? map.commentBefore : undefined);
    if (isMap(pair.value) && !pair.value.flow) return rows(pair.value as YAMLMap, `${key}.`);
    if (isMap(pair.value) && comment === undefined) throw new Error(`${key} has no comment`);
    const text = (comment ?? '').split('\n\n').at(-1)?.replaceAll(/\n ?/g, ' ').trim() ?? '';
    if (text === '') throw new Error(`values.yaml does not say what ${key} is`);
    const value = JSON.stringify((pair.value as { toJSON(): unknown }).toJSON());
    return [{ key, value, text: text.replaceAll('|', '\\|').replaceAll('<', '&lt;') }];
  });
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const readme = new URL('README.md', chart);
  const values = readFileSync(new URL('values.yaml', chart), 'utf8');
  writeFileSync(readme, chartReadme(readFileSync(readme, 'utf8'), values));
  const schema = new URL('values.schema.json', chart);
  writeFileSync(schema, valuesSchema(readFileSync(schema, 'utf8')));
  for (const [from, to] of COPIES) copyFileSync(new URL(`../${from}`, import.meta.url), new URL(`../${to}`, import.meta.url));
}
