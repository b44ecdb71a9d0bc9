/** Handshakes as HTTP, header by header. */
import { type IncomingMessage, request } from 'node:http';
import type { RunningBroker } from '../../support/broker.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** Of the JSON body; empty objects where there is none. */
  readonly code: string | undefined;
  readonly reason: string | undefined;
}

const HEADERS = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol': 'chat.v1',
};

/** `headers` replace those of a good handshake without a credential; undefined takes one away. */
export function handshake(
  broker: RunningBroker,
  headers: Readonly<Record<string, string | undefined>> = {},
  query = '',
): Promise<Answer> {
  const sent = Object.entries({ ...HEADERS, ...headers }).filter(([, value]) => value !== undefined);
  return new Promise((resolve, reject) => {
    const exchange = request(`${broker.httpUrl}/connect${query}`, {
      headers: Object.fromEntries(sent) as Record<string, string>,
      agent: false,
    });
    exchange.on('error', reject);
    exchange.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        code: undefined,
        reason: undefined,
      });
    });
    exchange.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const body = JSON.parse(text) as { code: string; reason: string };
        resolve({ status: response.statusCode ?? 0, headers: response.headers, ...body });
      });
    });
    exchange.end();
  });
}

export function bearer(token: string): Readonly<Record<string, string>> {
  return { Authorization: `Bearer ${token}` };
}
