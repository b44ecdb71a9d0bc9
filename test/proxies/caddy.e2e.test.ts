import { once } from 'node:events';
import { test } from 'node:test';
import { behind, hearAll, joined, testProxy } from './suite.ts';

testProxy('caddy');

test('caddy: a reload ends connections; they can come back at once', async (t) => {
  await behind(t, 'caddy', async (proxy, _broker, token) => {
    const before = await joined(proxy, token);
    const closed = once(before.socket, 'close');
    await proxy.reload();
    await closed;
    const after = await joined(proxy, token);
    await hearAll([after], after);
    after.socket.terminate();
  });
});
