/** What an attacker has: tokens of any kind, and every door of a broker to try them at. */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { RunningBroker } from '../../support/broker.ts';

export const ISSUER = 'https://issuer.example';
export const AUDIENCE = 'carillon';

/** What would open every door, if only it were signed. */
export function claims(more: object = {}): object {
  const rooms = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }];
  const iat = Math.floor(Date.now() / 1000);
  return {
    sub: 'mallory',
    iss: ISSUER,
    aud: AUDIENCE,
    iat,
    exp: iat + 3600,
    scope: 'api admin',
    rooms,
    ...more,
  };
}

export type Sign = (input: string) => Buffer;

export const hmac =
  (secret: string | Uint8Array): Sign =>
  (input) =>
    createHmac('sha256', secret).update(input).digest();

/** A compact JWS of any header and any payload; texts are taken as they are. */
export function forge(header: object | string, payload: object | string, sign: Sign): string {
  const part = (value: object | string) =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const input = `${part(header)}.${part(payload)}`;
  return `${input}.${sign(input).toString('base64url')}`;
}

export interface Outcome {
  readonly status: number;
  readonly code: string;
}

/** 101 and the first frame's type, or the status and code of the refusal; 0 where there is no HTTP answer at all. */
export async function knock(
  url: string,
  { protocols = ['chat.v1'], headers = {} }: { protocols?: string[]; headers?: Record<string, string> },
): Promise<Outcome> {
  const socket = new WebSocket(url, protocols, { headers });
  socket.on('error', () => undefined);
  try {
    return await Promise.race([
      once(socket, 'message').then(([data]) => ({
        status: 101,
        code: JSON.parse(String(data)).type as string,
      })),
      once(socket, 'unexpected-response').then(async ([, response]) => {
        let body = '';
        for await (const piece of response) body += String(piece);
        return { status: response.statusCode as number, code: body === '' ? '' : JSON.parse(body).code };
      }),
      once(socket, 'close').then(() => ({ status: 0, code: 'closed' })),
    ]);
  } finally {
    socket.terminate();
  }
}

async function http(url: string, token: string): Promise<Outcome> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, code: ((await response.json()) as { code?: string }).code ?? 'ok' };
}

/** A session that is let in, and refreshes with the token. */
async function refresh(broker: RunningBroker, good: string, token: string): Promise<Outcome> {
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${good}`]);
  await once(socket, 'message');
  socket.send(JSON.stringify({ type: 'refresh', token, id: 1 }));
  const answered = new Promise<Outcome>((resolve) => {
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data));
      if (frame.type === 'refreshed') resolve({ status: 101, code: 'refreshed' });
      if (frame.type === 'error') resolve({ status: 401, code: frame.code });
    });
    socket.on('close', (code) => resolve({ status: 0, code: `closed ${code}` }));
  });
  const outcome = await answered;
  socket.terminate();
  return outcome;
}

export type Door = (broker: RunningBroker, token: string, good: string) => Promise<Outcome>;

/** Every place where a broker takes a token. The query only where auth.allowQueryToken is set. */
export const DOORS: Readonly<Record<string, Door>> = {
  header: (broker, token) => knock(broker.url, { headers: { authorization: `Bearer ${token}` } }),
  subprotocol: (broker, token) => knock(broker.url, { protocols: ['chat.v1', `bearer.${token}`] }),
  query: (broker, token) => knock(`${broker.url}?token=${token}`, {}),
  refresh: (broker, token, good) => refresh(broker, good, token),
  'server API': (broker, token) => http(`${broker.httpUrl}/api/v1/rooms/a/history`, token),
  'admin API': (broker, token) => http(`${broker.adminUrl}/admin/v1/stats`, token),
};
