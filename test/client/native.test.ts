import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { event, scripted } from './scripted.ts';

/** Node 20 has its own WebSocket behind a flag. */
const flags = Number(process.versions.node.split('.')[0]) < 22 ? ['--experimental-websocket'] : [];

test('on the WebSocket of the runtime: events come, and an unreachable server is noticed', async (t) => {
  const server = await scripted(t);
  const program = fileURLToPath(new URL('native-client.ts', import.meta.url));
  const child = spawn(process.execPath, [...flags, '--import', 'tsx', program, server.url]);
  t.after(() => child.kill());
  const exited = once(child, 'exit');
  let out = '';
  child.stdout.on('data', (data) => {
    out += data;
  });
  const peer = (await server.peer()).info();
  await peer.joins();
  peer.send(event(1));
  while (!out.includes('event')) await once(child.stdout, 'data');
  server.stop();
  peer.socket.terminate();
  const [code] = await exited;
  assert.equal(code, 0);
  const [first, second, ...rest] = out.trim().split('\n');
  assert.deepEqual([first, second], ['connecting', 'open']);
  assert.equal(rest.shift(), 'event 1');
  assert.deepEqual(rest, ['waiting', 'connecting', 'waiting', 'connecting', 'closed connect_failed']);
});
