import type { HttpRequest } from 'uWebSockets.js';
import { type Encoding, SUBPROTOCOLS, type Subprotocol } from '../protocol/frames.ts';
import type { Head } from './head.ts';
import { type OriginPolicy, originAllowed } from './origin.ts';
import { REFUSALS, type Refusal } from './refusal.ts';

/** A token to verify, or a ticket that continues a session. */
export interface Credential {
  readonly kind: 'token' | 'ticket';
  readonly text: string;
}

/** What the handshake needs of the request, copied: uWS's request object dies with its callback. */
export interface Handshake {
  readonly key: string;
  readonly extensions: string;
  readonly subprotocol: Subprotocol;
  readonly encoding: Encoding;
  readonly credential: Credential;
}

export interface HandshakePolicy extends OriginPolicy {
  readonly allowQueryToken: boolean;
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;
const TOKEN_PREFIX = 'bearer.';
const TICKET_PREFIX = 'ticket.';
const AUTHORIZATION = /^Bearer +([^ ]+)$/i;

export function isRefusal(value: Handshake | Refusal): value is Refusal {
  return 'status' in value;
}

/**
 * RFC 6455 section 4.2.1, all of it. uWebSockets.js itself looks at nothing but the length of the key; a request
 * with `Connection: close` would even crash the process after an asynchronous upgrade.
 */
export function readHandshake(
  request: HttpRequest,
  head: Head,
  policy: HandshakePolicy,
): Handshake | Refusal {
  const refused = protocolRefusal(head) ?? originRefusal(head, policy);
  if (refused !== undefined) return refused;
  const offered = splitList(head.all('sec-websocket-protocol'));
  const subprotocol = offered.find(isSubprotocol);
  if (subprotocol === undefined)
    return REFUSALS.badSubprotocol(
      `offer one of these subprotocols: ${Object.keys(SUBPROTOCOLS).join(', ')}`,
    );
  // A proxy that checks one of them and a broker that takes the other would let an attacker in.
  if (head.repeats('authorization'))
    return REFUSALS.badRequest('there is more than one Authorization header');
  const credential = credentialOf(request, head, offered, policy.allowQueryToken);
  if (credential === undefined)
    return REFUSALS.unauthorized(
      'no credential: send "Authorization: Bearer <jwt>" or offer the subprotocol "bearer.<jwt>" beside chat.v1',
    );
  return {
    key: head.first('sec-websocket-key'),
    extensions: head.first('sec-websocket-extensions'),
    subprotocol,
    encoding: SUBPROTOCOLS[subprotocol],
    credential,
  };
}

function protocolRefusal(head: Head): Refusal | undefined {
  if (head.first('upgrade').toLowerCase() !== 'websocket')
    return REFUSALS.badRequest(
      'this address takes WebSocket connections: the Upgrade header must be "websocket"',
    );
  if (!splitList(head.first('connection').toLowerCase()).includes('upgrade'))
    return REFUSALS.badRequest('the Connection header must have the token "Upgrade"');
  if (head.first('sec-websocket-version') !== '13')
    return REFUSALS.badVersion('the WebSocket version must be 13');
  if (!KEY.test(head.first('sec-websocket-key')))
    return REFUSALS.badRequest('the Sec-WebSocket-Key header must be 16 bytes in base64');
  return undefined;
}

function originRefusal(head: Head, policy: OriginPolicy): Refusal | undefined {
  // Two of them are a list, which is no origin.
  const origin = head.all('origin');
  if (originAllowed(origin, policy)) return undefined;
  return REFUSALS.badOrigin(
    origin === '' ? 'an Origin header is required here' : 'this origin is not in the list of allowed origins',
  );
}

/** First found: header, subprotocol entries, and the query only where the config allows it, for it ends up in logs. */
function credentialOf(
  request: HttpRequest,
  head: Head,
  offered: readonly string[],
  allowQuery: boolean,
): Credential | undefined {
  const token = AUTHORIZATION.exec(head.first('authorization'))?.[1] ?? entryOf(offered, TOKEN_PREFIX);
  if (token !== undefined) return { kind: 'token', text: token };
  const ticket = entryOf(offered, TICKET_PREFIX);
  if (ticket !== undefined) return { kind: 'ticket', text: ticket };
  const asked = allowQuery ? request.getQuery('token') || undefined : undefined;
  return asked === undefined ? undefined : { kind: 'token', text: asked };
}

function entryOf(offered: readonly string[], prefix: string): string | undefined {
  return offered.find((name) => name.startsWith(prefix))?.slice(prefix.length);
}

function isSubprotocol(name: string): name is Subprotocol {
  return Object.hasOwn(SUBPROTOCOLS, name);
}

function splitList(header: string): string[] {
  return header.split(',').map((entry) => entry.trim());
}
