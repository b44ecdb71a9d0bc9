/** Fields that several calls share. */
import { z } from 'zod';
import { TENANT_NAME } from '../../broker/ports.ts';
import { ROOM_NAME } from '../../protocol/room.ts';

export const tenantName = z.string().regex(TENANT_NAME, 'is not the name of a tenant');
export const userName = z.string().min(1).max(256);
export const roomName = z.string().regex(ROOM_NAME, 'is not a room name');
export const reason = z.string().max(120);
export const sessionId = z.string().min(1).max(128);

export const limit = (most: number, otherwise: number) =>
  z.coerce.number().int().min(1).max(most).default(otherwise);

/** Nodes that did not answer in time; the rest of the answer is without them. */
export const missing = z.array(z.string());

/** Exactly one of the names has a value. */
export function namesOne<K extends string>(names: readonly K[]) {
  return (body: { readonly [N in K]?: unknown }) =>
    names.filter((name) => body[name] !== undefined).length === 1;
}
