/** A real HTTP server that plays an issuer, or the service behind the webhook: well, or in one of many bad ways. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';

export interface Issuer {
  readonly url: string;
  /** What has been asked so far: bodies of the requests. */
  readonly asked: string[];
  readonly headers: IncomingMessage['headers'][];
  answer: (response: ServerResponse, body: string) => void;
  /** As if the machine were gone: connections are refused. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function issuer(t: TestContext, answer: Issuer['answer']): Promise<Issuer> {
  let server: Server | undefined;
  let port = 0;
  const self: Issuer = {
    get url() {
      return `http://127.0.0.1:${port}/jwks`;
    },
    asked: [],
    headers: [],
    answer,
    stop: async () => {
      server?.closeAllConnections();
      await new Promise((done) => (server ? server.close(done) : done(undefined)));
      server = undefined;
    },
    start: async () => {
      server = createServer((request, response) => {
        let body = '';
        request.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        request.on('end', () => {
          self.asked.push(body);
          self.headers.push(request.headers);
          self.answer(response, body);
        });
      });
      await new Promise<void>((done) => server?.listen(port, '127.0.0.1', done));
      port = (server.address() as AddressInfo).port;
    },
  };
  await self.start();
  t.after(() => self.stop());
  return self;
}

export function json(value: unknown, status = 200): Issuer['answer'] {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof value === 'string' ? value : JSON.stringify(value));
  };
}

/** Each way for an HTTP server to fail, and the outcome it is counted as. */
export const FAILURES: Readonly<Record<string, readonly [Issuer['answer'], string]>> = {
  'status 500': [json({ keys: [] }, 500), 'status'],
  'status 404': [json('gone', 404), 'status'],
  'a hang': [() => {}, 'timeout'],
  'a hang after the head': [(response) => void response.writeHead(200).write('{'), 'timeout'],
  'a drip': [
    (response) => {
      response.writeHead(200);
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    },
    'timeout',
  ],
  'a cut': [
    (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{');
      setTimeout(() => response.destroy(), 20);
    },
    'unreachable',
  ],
  'no HTTP': [(response) => void response.socket?.end('220 mail.example.com\r\n'), 'unreachable'],
  'a redirect': [
    (response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    'redirect',
  ],
  'an endless body': [
    (response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(16_384)));
      };
      response.on('drain', more);
      more();
    },
    'oversized',
  ],
  'a broken encoding': [
    (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip at all'),
    'unreachable',
  ],
  'a bomb': [
    (response) =>
      void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(20_000_000))),
    'oversized',
  ],
  'a page': [json('<html></html>'), 'garbage'],
  nothing: [json(''), 'garbage'],
  'another JSON': [json([1, 2, 3]), 'garbage'],
};
