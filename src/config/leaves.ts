/**
 * The leaves of the schema. Each knows in words what it expects, so that a problem can be told to a person, and
 * whether its value may be shown.
 */
import { z } from 'zod';
import { isAccessPattern } from '../broker/access/template.ts';
import { isRoomPattern } from '../protocol/room.ts';
import {
  type Address,
  GIB,
  KIB,
  MIB,
  parseAddress,
  parseCount,
  parseDuration,
  parseSize,
  showDuration,
  showSize,
} from './units.ts';

/** What can stand in a header. */
export const VISIBLE = /^[\x21-\x7e]{1,512}$/;

/** Marks problems of values that must not be shown. */
export const SECRET = { secret: true } as const;

/** What a leaf takes in terms of JSON Schema, as far as those say it; for the schema of the chart's values. */
type Shape = Readonly<Record<string, unknown>>;

const TEXT: Shape = { type: 'string' };

const NUMBER = '[0-9]{1,15}([.][0-9]{1,6})? *';
const SIZE = `^${NUMBER}([kKmMgG]?[iI]?[bB])?$`;
const DURATION = `^${NUMBER}(ms|s|m|h|d)?$`;

/** Whether one with a unit is within the bounds, only the broker says. */
function quantity(minimum: number, maximum: number, pattern: string): Shape {
  return { type: ['integer', 'string'], minimum, maximum, pattern };
}

/** A leaf of the schema: what `parse` answers undefined to is a problem, described by `expected`. */
export function leaf<T>(
  expected: string,
  parse: (value: unknown) => T | undefined,
  shape: Shape = {},
  secret = false,
) {
  const read = z.unknown().transform((value, context): T => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: expected, ...(secret ? { params: SECRET } : {}) });
    return z.NEVER;
  });
  return read.meta({ ...shape, ...(secret ? { writeOnly: true } : {}) });
}

interface Range {
  readonly min: number;
  readonly max: number;
}

function within(value: number | undefined, range: Range): number | undefined {
  return value !== undefined && value >= range.min && value <= range.max ? value : undefined;
}

export function count(min: number, max: number) {
  const expected = `a whole number from ${min} to ${max}`;
  return leaf(expected, (value) => within(parseCount(value), { min, max }), quantity(min, max, '^[0-9]+$'));
}

const SIZE_EXAMPLES = [64 * KIB, MIB, 64 * MIB, GIB];
const DURATION_EXAMPLES = [500, 30_000, 600_000, 3_600_000];

/** Values that would be taken: those that people know, as far as they fit, or else the least. */
function exampleOf(
  show: (value: number) => string,
  min: number,
  max: number,
  known: readonly number[],
): string {
  const fitting = known.filter((value) => value >= min && value <= max).slice(0, 2);
  return (fitting.length === 0 ? [min] : fitting).map(show).join(' or ');
}

/** Bytes. */
export function size(min: number, max: number) {
  const expected = `a size from ${showSize(min)} to ${showSize(max)}, such as ${exampleOf(showSize, min, max, SIZE_EXAMPLES)}`;
  return leaf(expected, (value) => within(parseSize(value), { min, max }), quantity(min, max, SIZE));
}

/** Milliseconds; a plain number is taken as such. */
export function duration(min: number, max: number) {
  const expected = `a duration from ${showDuration(min)} to ${showDuration(max)}, such as ${exampleOf(showDuration, min, max, DURATION_EXAMPLES)}`;
  return leaf(
    expected,
    (value) => within(parseDuration(value, 1), { min, max }),
    quantity(min, max, DURATION),
  );
}

/** Whole seconds; a plain number is taken as such. */
export function seconds(min: number, max: number) {
  const expected = `a whole number of seconds from ${min} to ${max}, such as ${min} or ${min}s`;
  const parse = (value: unknown): number | undefined => {
    const ms = parseDuration(value, 1000);
    return ms === undefined || ms % 1000 !== 0 ? undefined : within(ms / 1000, { min, max });
  };
  return leaf(expected, parse, quantity(min, max, DURATION));
}

/** Of all, as a number. */
export function share() {
  const parse = (value: unknown): number | undefined => {
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    return typeof number === 'number' && number >= 0 && number <= 1 ? number : undefined;
  };
  return leaf('a number from 0 to 1, such as 0.01', parse, {
    type: ['number', 'string'],
    minimum: 0,
    maximum: 1,
  });
}

/** Processes; auto: as many as there are cores. */
export function workers() {
  const range = { min: 1, max: 64 };
  return leaf<number | 'auto'>('a whole number from 1 to 64, or auto', (value) =>
    value === 'auto' ? 'auto' : within(parseCount(value), range),
  );
}

export function address() {
  const expected = 'host:port, such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080; port 0 takes any free one';
  return leaf<Address>(expected, parseAddress, TEXT);
}

export function text(expected: string, pattern: RegExp, secret = false) {
  const parse = (value: unknown) => (typeof value === 'string' && pattern.test(value) ? value : undefined);
  return leaf(expected, parse, TEXT, secret);
}

export function secretText(expected: string, pattern: RegExp) {
  return text(expected, pattern, true);
}

export function choice<const T extends string | boolean>(options: readonly T[]) {
  const expected = `one of ${options.map(String).join(', ')}`;
  const parse = (value: unknown) => options.find((option) => option === value || String(option) === value);
  return leaf<T>(expected, parse, { enum: [...new Set([...options, ...options.map(String)])] });
}

/** As `choice`, but of true and false, whose parsed value must not be lost to undefined checks. */
export function flag() {
  return choice([true, false] as const);
}

export function pattern() {
  const expected = 'a room pattern: segments of [A-Za-z0-9_.@-] split by ":", "*" for one, "**" for the rest';
  return leaf(expected, (value) => (isRoomPattern(value) ? value : undefined), TEXT);
}

/** Of a list of access. */
export function accessPattern() {
  const expected =
    'a room pattern, in which ${sub}, ${tenant} and ${info.NAME} may stand for a segment or a part of one';
  return leaf(expected, (value) => (isAccessPattern(value) ? value : undefined), TEXT);
}

/** Not shown when it is wrong: people put user names, passwords and keys into URLs. */
export function httpUrl() {
  const expected = 'an https:// or http:// URL without user, password and #';
  const parse = (value: unknown) => (typeof value === 'string' ? plainHttpUrl(value) : undefined);
  return leaf(expected, parse, TEXT, true);
}

function plainHttpUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { protocol, username, password, hash } = new URL(text);
  return /^https?:$/.test(protocol) && `${username}${password}${hash}` === '' ? text : undefined;
}
