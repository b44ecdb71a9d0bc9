/** Room patterns of access lists, which may name claims: `user:${sub}:**` (docs/protocol.md, 2.4.1). */
import { isRoomPattern } from '../../protocol/room.ts';
import type { Identity } from '../ports.ts';

/** As for names and patterns: characters, placeholders included. */
export const ACCESS_PATTERN_MAX = 128;

const PLACEHOLDER = /\$\{([^{}]*)\}/g;
const CLAIM = /^(?:sub|tenant|info(?:\.[A-Za-z0-9_-]+)+)$/;

/**
 * One whole segment of a room's name, or a part of one. No `:` and no `*`, so that a value stays where it was put; and
 * no `@` in front, so that a user named `@bob` does not turn `${sub}` into the inbox of bob.
 */
const VALUE = /^[A-Za-z0-9_.-][A-Za-z0-9_.@-]{0,127}$/;

/** A room pattern in which `${sub}`, `${tenant}` and `${info.NAME}` may stand for a segment or within one. */
export function isAccessPattern(pattern: unknown): pattern is string {
  if (typeof pattern !== 'string' || pattern.length > ACCESS_PATTERN_MAX) return false;
  let known = true;
  const filled = pattern.replace(PLACEHOLDER, (_, name: string) => {
    known &&= CLAIM.test(name);
    return 'x';
  });
  return known && isRoomPattern(filled);
}

export function isTemplate(pattern: string): boolean {
  return pattern.includes('${');
}

export type Substitution =
  | { readonly ok: true; readonly pattern: string }
  /** The claims whose values cannot stand in a room's name. */
  | { readonly ok: false; readonly claims: readonly string[] };

/** @param template one that isAccessPattern has let pass. */
export function substitute(template: string, identity: Identity): Substitution {
  const claims: string[] = [];
  const pattern = template.replace(PLACEHOLDER, (_, name: string) => {
    const value = textOf(name, identity);
    if (value === undefined) claims.push(name);
    return value ?? '';
  });
  return claims.length === 0 ? { ok: true, pattern } : { ok: false, claims };
}

function textOf(name: string, identity: Identity): string | undefined {
  const value = claimOf(name, identity);
  // A safe integer is written in one way only: teams are often numbers.
  const text = Number.isSafeInteger(value) ? String(value) : value;
  return typeof text === 'string' && VALUE.test(text) ? text : undefined;
}

function claimOf(name: string, identity: Identity): unknown {
  if (name === 'sub') return identity.user;
  if (name === 'tenant') return identity.tenant;
  const [, ...path] = name.split('.');
  return path.reduce<unknown>((at, key) => (isOwn(at, key) ? at[key] : undefined), identity.info);
}

function isOwn(value: unknown, key: string): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key);
}
