import { ACTIONS } from '../broker/ports.ts';
import type { KeySetting } from './keys.ts';
import { mintToken, secretSigner } from './mint.ts';

/** What a broker without keys makes for itself at each start, so that a newcomer can try it. */
export interface DevelopmentKey {
  readonly key: KeySetting;
  /** A token for this user with access to every room, for a day. */
  mint(user: string): Promise<string>;
}

const KID = 'development';
const TTL_SECONDS = 24 * 3600;

/** @param random at least 32 bytes of it. @param now milliseconds since 1970, at each call. */
export function developmentKey(random: Uint8Array, now: () => number): DevelopmentKey {
  const secret = Buffer.from(random).toString('base64url');
  const rooms = [{ match: '**', allow: ACTIONS }];
  const mint = (sub: string) =>
    mintToken(secretSigner(secret, KID), { sub, rooms }, { now: now(), ttlSeconds: TTL_SECONDS });
  return { key: { kid: KID, alg: 'HS256', secret }, mint };
}
