/**
 * The chart as a release has it: node scripts/release-chart.mjs FOLDER. Writes a copy of helm/carillon there, with the
 * image that the release pushes, and prints that image for the workflow, as lines of GITHUB_OUTPUT. One place says what
 * the image is called, so that what is pushed is what the chart pulls.
 *
 * From the environment: REGISTRY (a host, such as registry.example.com), GITHUB_REPOSITORY (owner/name) and
 * GITHUB_REF_NAME (the tag, v1.2.3).
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { parseDocument } from 'yaml';

/** What a host of a registry looks like: with a dot or a port, or localhost. Else it is an owner on the default one. */
const HOST = /^(?:localhost(?::\d+)?|[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::\d+)?|[a-z0-9-]+:\d+)$/;
const NAME = /^[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$/;
const TAG = /^v(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?)$/;

/** @returns {{ registry: string, repository: string, version: string, image: string }} */
export function releaseImage({ REGISTRY = '', GITHUB_REPOSITORY = '', GITHUB_REF_NAME = '' }) {
  // Names of images are in small letters, those of owners need not be.
  const [registry, repository] = [REGISTRY.toLowerCase(), GITHUB_REPOSITORY.toLowerCase()];
  const version = TAG.exec(GITHUB_REF_NAME)?.[1];
  if (!HOST.test(registry)) throw new Error(`REGISTRY is "${REGISTRY}": expected the host of a registry`);
  if (!NAME.test(repository)) throw new Error(`GITHUB_REPOSITORY is "${GITHUB_REPOSITORY}": expected owner/name`);
  if (version === undefined) throw new Error(`GITHUB_REF_NAME is "${GITHUB_REF_NAME}": expected a tag such as v1.2.3`);
  return { registry, repository, version, image: `${registry}/${repository}:${version}` };
}

/** The chart in this folder with that image, its version and the broker's being the release's. */
export function writeReleaseChart(chart, folder, { registry, repository, version }) {
  cpSync(chart, folder, { recursive: true });
  edit(join(folder, 'Chart.yaml'), { version, appVersion: version });
  edit(join(folder, 'values.yaml'), { image: { registry, repository } });
}

function edit(file, changes) {
  const document = parseDocument(readFileSync(file, 'utf8'));
  for (const [key, change] of Object.entries(changes)) {
    const inner = typeof change === 'string' ? [[[key], change]] : Object.entries(change).map(([k, v]) => [[key, k], v]);
    for (const [path, value] of inner) {
      if (!document.hasIn(path)) throw new Error(`${file} has no ${path.join('.')}`);
      document.setIn(path, value);
    }
  }
  writeFileSync(file, document.toString({ lineWidth: 0 }));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('name the folder to write the chart to');
  const image = releaseImage(process.env);
  writeReleaseChart(new URL('../helm/carillon', import.meta.url).pathname, folder, image);
  for (const [name, value] of Object.entries(image)) console.log(`${name}=${value}`);
}
