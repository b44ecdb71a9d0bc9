import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { test } from 'node:test';
import { frame } from '../support/raw-socket.ts';
import { behind, joined, testProxy, testReload } from './suite.ts';

testProxy('haproxy');
testReload('haproxy');

test('haproxy: a WebSocket over HTTP/2 (RFC 8441)', async (t) => {
  await behind(t, 'haproxy', async (proxy, _broker, token) => {
    const session = connectHttp2(`https://127.0.0.1:${proxy.port}`, { ca: proxy.ca });
    const [settings] = await once(session, 'remoteSettings');
    assert.equal(settings.enableConnectProtocol, true);
    const stream = session.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':path': '/connect',
        ':authority': `127.0.0.1:${proxy.port}`,
        'sec-websocket-version': '13',
        'sec-websocket-protocol': 'chat.v1',
        authorization: `Bearer ${token}`,
      },
      { endStream: false },
    );
    let text = '';
    stream.on('data', (data) => (text += data.toString('latin1')));
    const [headers] = await once(stream, 'response');
    assert.equal(headers[':status'], 200);
    assert.equal(headers['sec-websocket-protocol'], 'chat.v1');
    stream.write(frame({ payload: JSON.stringify({ type: 'join', room: 'live:all' }) }));
    // Beside a client over HTTP/1.1, in the same room.
    const other = await joined(proxy, token);
    while (!text.includes('"type":"joined"')) await once(stream, 'data');
    other.socket.send(JSON.stringify({ type: 'pub', room: 'live:all', payload: 'over one connection' }));
    while (!text.includes('over one connection')) await once(stream, 'data');
    stream.close();
    session.destroy();
    other.socket.terminate();
  });
});
