import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { at, ROOT } from './render.ts';

/** The code block of docs/operations/nats.md: per heading the subjects of publish and subscribe. */
function documented(heading: string): { publish: string[]; subscribe: string[] } {
  const page = readFileSync(join(ROOT, 'docs/operations/nats.md'), 'utf8');
  const block = page.slice(page.indexOf(`# ${heading}\n`)).split(/\n\n|\n```/, 1)[0] ?? '';
  const [publish = '', subscribe = ''] = block.split('publish:')[1]?.split('subscribe:') ?? [];
  const subjects = (text: string): string[] =>
    text
      .split('\n')
      // What only brokers with nats.manageStreams need; the chart has a Job for that.
      .filter((line) => !line.includes('manageStreams'))
      .flatMap((line) => line.split(/\s+/))
      .filter((word) => word !== '')
      .sort();
  return { publish: subjects(publish), subscribe: subjects(subscribe) };
}

test('the users of nats-values.yaml may do what docs/operations/nats.md says they need, and no more', () => {
  const values: unknown = parse(readFileSync(join(ROOT, 'helm/nats-values.yaml'), 'utf8'));
  const users = at(values, 'config.merge.accounts.CARILLON.users') as readonly unknown[];
  for (const [user, heading] of [
    [users[0], 'a broker'],
    [users[1], 'carillon streams apply'],
  ] as const) {
    const { publish, subscribe } = at(user, 'permissions') as { publish: string[]; subscribe: string[] };
    assert.deepEqual({ publish: publish.sort(), subscribe: subscribe.sort() }, documented(heading), heading);
    assert.ok(publish.length > 2, heading);
  }
});

test('three servers with TLS, and disk for all streams of the broker', () => {
  const values: unknown = parse(readFileSync(join(ROOT, 'helm/nats-values.yaml'), 'utf8'));
  assert.equal(at(values, 'config.cluster.replicas'), 3);
  assert.equal(at(values, 'config.nats.tls.enabled'), true);
  assert.equal(at(values, 'config.cluster.tls.enabled'), true);
  assert.equal(at(values, 'config.jetstream.fileStore.pvc.size'), '20Gi');
  // docs/operations/runbooks.md, NATS disk full: the server's own limit comes first.
  assert.equal(at(values, 'config.jetstream.fileStore.maxSize'), '16Gi');
});
