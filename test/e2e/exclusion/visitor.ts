/** Clients and calls of the APIs, for the tests of who is kept out. */
import { WebSocket } from 'ws';
import type { RunningBroker } from '../../support/broker.ts';

export const ADMIN = 'an-admin-token-that-only-these-tests-use';

export interface Visit {
  /** Of a refusal, else 101. */
  readonly status: number;
  readonly code?: string;
  readonly reason?: string;
  readonly ticket: string;
  readonly session: string;
  readonly socket: WebSocket;
  /** The close code and reason, and when it came (performance.now). */
  readonly closed: Promise<{ readonly code: number; readonly reason: string; readonly at: number }>;
}

/** The first frame, or the refusal. */
export function visit(url: string, credential: string, headers: Record<string, string> = {}): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ['chat.v1', credential], { headers });
    const closed: Visit['closed'] = new Promise((done) => {
      socket.once('close', (code, reason) => done({ code, reason: String(reason), at: performance.now() }));
    });
    socket.once('message', (data) => {
      const { ticket = '', session } = JSON.parse(String(data)) as { ticket?: string; session: string };
      resolve({ status: 101, ticket: `ticket.${ticket}`, session, socket, closed });
    });
    socket.once('unexpected-response', (_request, response) => {
      response.once('data', (body) => {
        const refusal = JSON.parse(String(body)) as { code: string; reason: string };
        resolve({ status: response.statusCode ?? 0, ...refusal, ticket: '', session: '', socket, closed });
      });
    });
    socket.once('error', reject);
  });
}

export async function call(
  base: string,
  token: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ readonly status: number; readonly body: Record<string, unknown> }> {
  const response = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

export function admin(broker: RunningBroker, method: string, path: string, body?: object) {
  return call(broker.adminUrl, ADMIN, method, `/admin/v1/${path}`, body);
}
