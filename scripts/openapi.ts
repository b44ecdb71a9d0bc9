/** Writes docs/openapi.json from the routes: `npm run openapi`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { describedApi } from '../src/api/described.ts';

const root = new URL('../', import.meta.url);
const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { version: string };
writeFileSync(new URL('docs/openapi.json', root), `${JSON.stringify(describedApi(version), undefined, 2)}\n`);
