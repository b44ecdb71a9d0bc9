/** Whether all places agree about the version: node scripts/release-check.mjs [v1.2.3]. Prints the notes of that release. */
import { readFileSync } from 'node:fs';
import process from 'node:process';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const { version } = JSON.parse(read('package.json'));
const [tag] = process.argv.slice(2);
const changelog = read('CHANGELOG.md').split(/^## /m);
const notes = changelog.find((section) => section.startsWith(`${version} `) || section.startsWith(`${version}\n`));

const wrong = [
  [tag !== undefined && tag !== `v${version}`, `the tag is ${tag}, package.json says ${version}`],
  [JSON.parse(read('package-lock.json')).version !== version, 'package-lock.json has another version'],
  [!read('helm/carillon/Chart.yaml').includes(`\nappVersion: ${version}\n`), 'Chart.yaml has another appVersion'],
  [!read('helm/carillon/Chart.yaml').includes(`\nversion: ${version}\n`), 'Chart.yaml has another version'],
  [notes === undefined, `CHANGELOG.md has no section "## ${version}"`],
].filter(([applies]) => applies);

for (const [, text] of wrong) console.error(`release: ${text}`);
if (wrong.length > 0) process.exit(1);
console.log(notes.slice(notes.indexOf('\n')).trim());
