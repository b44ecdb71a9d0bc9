/** tsc copies no HTML, CSS or SVG: this puts those of the page beside its compiled script. */
import { cpSync, readdirSync } from 'node:fs';

const from = new URL('../src/page/', import.meta.url);
const to = new URL('../dist/page/', import.meta.url);

for (const name of readdirSync(from)) {
  if (!name.endsWith('.ts')) cpSync(new URL(name, from), new URL(name, to));
}
