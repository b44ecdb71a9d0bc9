/** To its clients a broker of several processes is one: a part of the conformance suite against three workers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { NatsCluster } from '../../support/nats/cluster.ts';

/** The other parts hold what one process promises within one turn of its loop, or what a node counts alone. */
const PARTS = ['access', 'history', 'payload'];

describe('conformance with three workers', () => {
  let nats: NatsCluster;

  before(async () => {
    nats = await NatsCluster.start(1);
  });
  after(() => nats.close());

  for (const part of PARTS)
    test(part, { timeout: 60_000 }, async () => {
      // The runner would take the child for one of its own, and run nothing.
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', '--test', '--test-reporter=spec', `test/e2e/conformance/${part}.test.ts`],
        {
          env: {
            ...env,
            CARILLON_WORKERS: '3',
            CARILLON_NATS_URL: nats.urls[0],
            // Each part has `rooms` of its own, and one installation has one list of rooms.
            CARILLON_NATS__PREFIX: part,
            CARILLON_NATS__SHARDS: '1',
            CARILLON_NATS__STREAMBYTES: '64MiB',
            CARILLON_NATS__CURSORBYTES: '4MiB',
          },
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      const said = text(child.stdout);
      const [code] = await once(child, 'exit');
      const output = await said;
      assert.equal(code, 0, output);
      const [, passed] = /^ℹ pass (\d+)$/m.exec(output) ?? [];
      assert.ok(Number(passed) > 3, output);
    });
});
