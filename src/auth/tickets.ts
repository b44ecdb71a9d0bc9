import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Clock, Identity, Resumption, Tickets, TicketVerdict } from '../broker/ports.ts';

export interface TicketOptions {
  /** The first signs, all of them open: a rotation puts the new one first and takes the old one out a ttl later. */
  readonly secrets: () => readonly Uint8Array[];
  readonly ttlSeconds: number;
}

/** A request's headers may be 4,096 bytes in all; a ticket longer than this is not worth risking the handshake. */
const TICKET_BYTES = 2800;

interface Contents {
  readonly session: string;
  readonly generation: number;
  /** Seconds since 1970: the end of the ticket, not of the token that stands behind it. */
  readonly until: number;
  readonly identity: Identity;
}

/**
 * Tickets continue a session on any node that has the secret, without the token's signature check and in the
 * same turn. They are signed, not encrypted: what they hold the client has told us itself. Made by hand, since
 * jose can only sign asynchronously, and the format is nobody's business but ours.
 */
export function createTickets(options: TicketOptions, clock: Clock): Tickets {
  const { secrets, ttlSeconds } = options;
  return {
    ttlSeconds,
    issue: (identity, resumption) => {
      const [signing] = secrets();
      if (signing === undefined) throw new Error('tickets need a secret');
      const until = Math.floor(clock.now() / 1000) + ttlSeconds;
      const contents: Contents = { ...resumption, until, identity };
      const body = Buffer.from(JSON.stringify(contents)).toString('base64url');
      const ticket = `${body}.${sign(body, signing).toString('base64url')}`;
      return ticket.length > TICKET_BYTES ? undefined : ticket;
    },
    open: (ticket) => {
      const [body = '', signature = '', ...rest] = ticket.split('.');
      const given = Buffer.from(signature, 'base64url');
      const genuine = rest.length === 0 && secrets().some((secret) => same(sign(body, secret), given));
      if (!genuine) return refused('unauthorized', 'the ticket is not genuine');
      return judge(JSON.parse(Buffer.from(body, 'base64url').toString()) as Contents, clock.now() / 1000);
    },
  };
}

function judge(contents: Contents, nowSeconds: number): TicketVerdict {
  const { identity, session, generation, until } = contents;
  if (nowSeconds >= until) return refused('token_expired', 'the ticket has expired: connect with the token');
  if (identity.exp !== undefined && nowSeconds >= identity.exp)
    return refused('token_expired', 'the token behind the ticket has expired');
  const resumes: Resumption = { session, generation };
  return { ok: true, identity, resumes };
}

function refused(code: 'unauthorized' | 'token_expired', reason: string): TicketVerdict {
  return { ok: false, code, reason };
}

function sign(body: string, secret: Uint8Array): Buffer {
  return createHmac('sha256', secret).update('carillon ticket 1\0').update(body).digest();
}

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
