import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { behind, config, joined, testProxy, testReload } from './suite.ts';

testProxy('nginx');
testReload('nginx');

test('without a ping in time a proxy does cut: the broker of this test is too slow with them', async (t) => {
  const lazy = { ...config, heartbeat: { idleSeconds: 20 } };
  await behind(
    t,
    'nginx',
    async (proxy, _broker, token) => {
      const client = await joined(proxy, token);
      await once(client.socket, 'close');
      assert.equal(client.closed, 1006);
    },
    lazy,
  );
});
