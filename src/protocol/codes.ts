/**
 * Every code that chat.v1 can put on the wire, in one table (docs/protocol.md, section 6).
 * The server, the SDK and the documentation are held together by test/protocol/codes.test.ts.
 */

interface ErrorRow {
  readonly meaning: string;
  /** Whether the same request may succeed later without being changed. */
  readonly retry: boolean;
}

export const ERROR_CODES = {
  bad_json: { meaning: 'the frame is not well-formed JSON or MessagePack', retry: false },
  bad_frame: {
    meaning: 'the frame is well-formed, but a field is missing, of the wrong type or over its limit',
    retry: false,
  },
  bad_type: { meaning: 'the frame type is not known to this server', retry: false },
  bad_room: { meaning: 'the room name is not of the form [A-Za-z0-9_.:@-]{1,128}', retry: false },
  payload_too_large: { meaning: 'the payload is over limits.payloadBytes', retry: false },
  frame_too_large: { meaning: 'the frame is over limits.frameBytes', retry: false },
  schema_violation: { meaning: 'the payload does not fit the schema of the room', retry: false },
  unauthorized: { meaning: 'the credential is missing, not valid or revoked', retry: false },
  token_expired: { meaning: 'the credential is past its exp', retry: false },
  forbidden: { meaning: 'the credential is valid, but does not allow this action here', retry: false },
  not_joined: { meaning: 'the session is not a member of the room', retry: false },
  already_joined: { meaning: 'the session is a member of the room already', retry: false },
  room_closed: { meaning: 'the room was closed by an administrator', retry: false },
  room_full: { meaning: 'the room has as many members as its limit allows', retry: true },
  too_many_rooms: { meaning: 'the session has joined as many rooms as its limit allows', retry: false },
  rate_limited: { meaning: 'a rate limit was exceeded; retryAfterMs says when to try again', retry: true },
  quota_exceeded: { meaning: 'a quota of the tenant is used up', retry: true },
  duplicate_session: { meaning: 'the user has another session, and the policy allows one', retry: false },
  unavailable: {
    meaning: 'the bus cannot take or answer this now; the outcome of a publish is unknown',
    retry: true,
  },
  overloaded: { meaning: 'the node is at a limit of its own', retry: true },
  internal: { meaning: 'the server failed; the log has the cause', retry: true },
} as const satisfies Readonly<Record<string, ErrorRow>>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** What a client does after a close: the hundred of the code says it. */
export type AfterClose = 'stop' | 'back_off' | 'return_in_slot';

interface CloseRow {
  readonly code: number;
  readonly meaning: string;
}

export const CLOSE_CODES = {
  bad_request: { code: 4000, meaning: 'the client broke the protocol in a way that cannot be answered' },
  unauthorized: { code: 4001, meaning: 'the credential was revoked or is not valid any more' },
  too_many_errors: { code: 4002, meaning: 'more protocol errors than limits.protocolErrors allows' },
  forbidden: { code: 4003, meaning: 'forbidden or banned' },
  tenant_disabled: { code: 4004, meaning: 'the tenant is disabled' },
  replaced: { code: 4008, meaning: 'a newer connection of the same session took over' },
  kicked: { code: 4009, meaning: 'an administrator ended the session' },
  overloaded: { code: 4100, meaning: 'the node is at a limit of its own' },
  rate_limited: { code: 4101, meaning: 'the client sends faster than it may' },
  slow_consumer: { code: 4102, meaning: 'the client reads too slowly and more than it may hold was waiting' },
  bus_lost: { code: 4103, meaning: 'the bus is away and the node cannot go on for this session' },
  heartbeat_timeout: { code: 4104, meaning: 'nothing was received for longer than the heartbeat allows' },
  tenant_quota: { code: 4105, meaning: 'a quota of the tenant ends this connection' },
  drain: { code: 4200, meaning: 'the node is going away: come back in the given slot' },
  token_expired: {
    code: 4201,
    meaning: 'the token reached its exp without a refresh: come back with a new one',
  },
  state_invalidated: { code: 4203, meaning: 'positions held by the client are void: come back without them' },
} as const satisfies Readonly<Record<string, CloseRow>>;

export type CloseReason = keyof typeof CLOSE_CODES;

/** RFC 6455 section 7.4.1: a message too big to process. */
export const CLOSE_TOO_BIG = 1009;

/**
 * What a client should do after a close with this code (docs/protocol.md, 6.2). Codes outside our ranges,
 * 1006 among them, are those of a lost connection: back off and return.
 */
export function afterClose(code: number): AfterClose {
  if (code >= 4000 && code <= 4099) return 'stop';
  if (code >= 4200 && code <= 4299) return 'return_in_slot';
  return 'back_off';
}
