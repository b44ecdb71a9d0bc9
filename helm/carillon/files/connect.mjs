// `helm test`: the admin service answers that it is ready, and the public one refuses a handshake without a token, or
// without a client certificate where one is required.
import http from 'node:http';
import https from 'node:https';

const [publicUrl, adminUrl] = process.argv.slice(-2);
// Whether the certificate is good for its clients' names, the name of the service does not tell.
const tls = publicUrl.startsWith('https:') ? { rejectUnauthorized: false } : {};
const { request } = publicUrl.startsWith('https:') ? https : http;

const ready = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(10_000) });
if (!ready.ok) throw new Error(`${adminUrl}/readyz answered ${ready.status}: ${await ready.text()}`);
console.log(`${adminUrl}/readyz: ${ready.status}`);

const status = await new Promise((resolve, reject) => {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol': 'chat.v1',
  };
  request(`${publicUrl}/connect`, { headers, timeout: 10_000, ...tls })
    .on('response', (response) => resolve(response.statusCode))
    .on('upgrade', () => resolve(101))
    .on('timeout', () => reject(new Error(`${publicUrl}/connect did not answer within 10 s`)))
    .on('error', reject)
    .end();
});
if (status !== 401 && status !== 403) {
  throw new Error(`${publicUrl}/connect without a token: expected 401 or 403, got ${status}`);
}
console.log(`${publicUrl}/connect without a token: ${status}`);
process.exit(0);
