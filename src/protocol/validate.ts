/** Which fields the client's frames have, and what these may hold (docs/protocol.md, section 3). */
import type { ErrorCode } from './codes.ts';
import { NOT_A_FRAME } from './fault.ts';
import { type ClientFrame, OVERFLOWS, type PubFrame, type RequestId } from './frames.ts';
import type { DecodeLimits, FrameFault, InboundPub } from './inbound.ts';
import { isRoomName } from './room.ts';
import { isTraceparent } from './traceparent.ts';

/** The most events that a join may ask for by `{last: n}`. */
export const SINCE_LAST_MAX = 10_000;
/** Users that a presence query may ask for. */
export const USERS_MAX = 100;
/** UTF-16 units: id, msgId, key, epoch and a textual ts. */
export const NAME_MAX = 64;

const UINT32_MAX = 0xffff_ffff;

type Fields = Readonly<Record<string, unknown>>;

interface FieldRule {
  readonly name: string;
  readonly required: boolean;
  readonly accepts: (value: unknown) => boolean;
  readonly code: ErrorCode;
  readonly reason: string;
}

interface FrameRule {
  readonly fields: readonly FieldRule[];
  /** A rule on fields together: the reason for a refusal. */
  readonly together?: (fields: Fields) => string | undefined;
}

function optional(name: string, accepts: (value: unknown) => boolean, rule: string): FieldRule {
  return { name, required: false, accepts, code: 'bad_frame', reason: `"${name}" must be ${rule}` };
}

function required(name: string, accepts: (value: unknown) => boolean, rule: string): FieldRule {
  return { ...optional(name, accepts, rule), required: true };
}

function isBoolean(value: unknown): boolean {
  return typeof value === 'boolean';
}

function isShortString(value: unknown): value is string {
  return typeof value === 'string' && value.length <= NAME_MAX;
}

function isName(value: unknown): value is string {
  return isShortString(value) && value.length > 0;
}

function isIntegerIn(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isRequestId(value: unknown): value is RequestId {
  return isShortString(value) || isIntegerIn(value, 0, UINT32_MAX);
}

function isSeq(value: unknown): boolean {
  return isIntegerIn(value, 0, Number.MAX_SAFE_INTEGER);
}

/** A room that is no room is answered when it is looked up; here it must only be bounded work. */
function isPlaces(value: unknown): boolean {
  if (!isFields(value)) return false;
  const places = Object.entries(value);
  return places.length > 0 && places.every(([room, seq]) => isRoomName(room) && isSeq(seq));
}

function isEpochs(value: unknown): boolean {
  return isFields(value) && Object.entries(value).every(([room, epoch]) => isRoomName(room) && isName(epoch));
}

function isUsers(value: unknown): boolean {
  if (!Array.isArray(value) || value.length === 0 || value.length > USERS_MAX) return false;
  return value.every((user) => typeof user === 'string');
}

function isSince(value: unknown): boolean {
  if (!isFields(value)) return false;
  const [epoch, seq, last] = [own(value, 'epoch'), own(value, 'seq'), own(value, 'last')];
  if (last === undefined) return isShortString(epoch) && isSeq(seq);
  return epoch === undefined && seq === undefined && isIntegerIn(last, 0, SINCE_LAST_MAX);
}

const NAME_RULE = `a string of 1 to ${NAME_MAX} characters`;
const FLAG_RULE = 'true or false';
const SEQ_RULE = 'an integer from 0 to 9007199254740991';

const ROOM: FieldRule = {
  ...required('room', isRoomName, '1 to 128 of the characters A-Z a-z 0-9 _ . : @ -'),
  code: 'bad_room',
};
const ID = optional(
  'id',
  isRequestId,
  `a string of at most ${NAME_MAX} characters or an integer from 0 to ${UINT32_MAX}`,
);
const MSG_ID = optional('msgId', isName, NAME_RULE);

const FRAMES: ReadonlyMap<string, FrameRule> = new Map<ClientFrame['type'], FrameRule>([
  [
    'pub',
    {
      fields: [
        ROOM,
        required('payload', () => true, 'given: any JSON value, null included'),
        ID,
        MSG_ID,
        optional('key', isName, NAME_RULE),
        optional('ephemeral', isBoolean, FLAG_RULE),
        optional('echo', isBoolean, FLAG_RULE),
        optional('traceparent', isTraceparent, 'a W3C traceparent of version 00'),
      ],
    },
  ],
  [
    'join',
    {
      fields: [
        ROOM,
        ID,
        optional(
          'since',
          isSince,
          `{"epoch": string, "seq": integer} or {"last": integer from 0 to ${SINCE_LAST_MAX}}`,
        ),
        optional(
          'overflow',
          (value) => OVERFLOWS.some((each) => each === value),
          `one of ${OVERFLOWS.join(', ')}`,
        ),
        optional('presence', isBoolean, FLAG_RULE),
      ],
    },
  ],
  ['leave', { fields: [ROOM, ID] }],
  [
    'seen',
    {
      fields: [
        required('rooms', isPlaces, 'an object of positions by room name'),
        optional('epochs', isEpochs, 'an object of epochs by room name'),
        ID,
      ],
    },
  ],
  [
    'history',
    {
      fields: [
        ROOM,
        ID,
        optional('before', isSeq, SEQ_RULE),
        optional('after', isSeq, SEQ_RULE),
        optional(
          'limit',
          (value) => isIntegerIn(value, 1, Number.MAX_SAFE_INTEGER),
          'an integer of at least 1',
        ),
      ],
      together: (fields) =>
        own(fields, 'before') !== undefined && own(fields, 'after') !== undefined
          ? '"before" and "after" may not be given together'
          : undefined,
    },
  ],
  ['presence', { fields: [ROOM, ID, optional('users', isUsers, `1 to ${USERS_MAX} strings`)] }],
  [
    'refresh',
    {
      fields: [
        required('token', (value) => typeof value === 'string' && value !== '', 'a non-empty string'),
        ID,
      ],
    },
  ],
  [
    'ping',
    {
      fields: [
        optional(
          'ts',
          (value) => isShortString(value) || Number.isFinite(value),
          `a number or a string of at most ${NAME_MAX} characters`,
        ),
        ID,
      ],
    },
  ],
]);

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Inherited properties are none of the frame's. */
function own(fields: Fields, name: string): unknown {
  const value = fields[name];
  return value === undefined || Object.hasOwn(fields, name) ? value : undefined;
}

/** Takes one decoded value; a frame that passes is the value itself, fields that we do not know included. */
export function validateFrame(value: unknown): ClientFrame | FrameFault {
  if (!isFields(value)) return NOT_A_FRAME;
  const type = own(value, 'type');
  if (typeof type !== 'string')
    return faultOf(value, 'bad_frame', '"type" must be a string that names the kind of frame');
  const rule = FRAMES.get(type);
  if (rule === undefined)
    return faultOf(value, 'bad_type', `the frame type ${quote(type)} is not known here`);
  for (const field of rule.fields) {
    const given = own(value, field.name);
    if (given === undefined ? field.required : !field.accepts(given))
      return faultOf(value, field.code, field.reason);
  }
  const clash = rule.together?.(value);
  if (clash !== undefined) return faultOf(value, 'bad_frame', clash);
  // An own "__proto__" is harmless here, but would set the prototype of a copy made by Object.assign.
  if (Object.hasOwn(value, '__proto__')) Reflect.deleteProperty(value, '__proto__');
  return value as unknown as ClientFrame;
}

/** Names come from strangers: what is quoted back to them is short. */
function quote(text: string): string {
  return JSON.stringify(text.length > NAME_MAX ? `${text.slice(0, NAME_MAX)}…` : text);
}

/** A refusal of one frame, with all that its error answer must carry as far as that is valid itself. */
export function faultOf(value: unknown, code: ErrorCode, reason: string, limit?: number): FrameFault {
  const fault: { -readonly [Name in keyof FrameFault]: FrameFault[Name] } = { type: 'fault', code, reason };
  if (isFields(value)) {
    const [id, msgId, room] = [own(value, 'id'), own(value, 'msgId'), own(value, 'room')];
    if (isRequestId(id)) fault.id = id;
    if (isName(msgId)) fault.msgId = msgId;
    if (isRoomName(room)) fault.room = room;
  }
  if (limit !== undefined) fault.limit = limit;
  return fault;
}

/** Completes a publish by its payload as JSON text. */
export function withPayloadText(frame: PubFrame, text: string): InboundPub {
  const pub = frame as PubFrame & { payloadText: string };
  pub.payloadText = text;
  return pub;
}

/** Why a payload with this number is refused, at every door. */
export function outOfRangeReason(number: string): string {
  return `the payload has the number ${quote(number)}, which no double holds: send it as a string`;
}

export function outOfRange(frame: PubFrame, number: string): FrameFault {
  return faultOf(frame, 'bad_frame', outOfRangeReason(number));
}

/** The size of a payload is that of its JSON text, whatever encoding it came in. */
export function payloadTooLarge(frame: PubFrame, limits: DecodeLimits): FrameFault {
  const limit = limits.payloadBytes;
  return faultOf(frame, 'payload_too_large', `the payload has more than ${limit} bytes as JSON text`, limit);
}
