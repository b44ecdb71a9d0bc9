import type { TokenRefusal } from '../broker/identity-counts.ts';
import { importVerifyKey, type KeySetting, type VerifyKey } from './keys.ts';

/** A key in use. `live` ends when its set no longer has it, and with it every verdict that it has signed. */
export interface LiveKey extends VerifyKey {
  live: boolean;
}

export type KeyLookup =
  | { readonly ok: true; readonly key: LiveKey }
  | {
      readonly ok: false;
      readonly kind: TokenRefusal;
      readonly reason: string;
      /** With `keys_unavailable`: when to ask again. */
      readonly retryAfterMs?: number;
    };

/** Where a key came from. Of two with the same kid and alg the earlier in this list is used. */
const PARTS = ['static', 'file', 'url'] as const;
export type KeyPart = (typeof PARTS)[number];

export interface ListedKey {
  readonly kid?: string;
  readonly alg: string;
  readonly source: KeyPart;
}

/**
 * The keys of one issuer, from all their sources. A key that stays through a replacement stays the same object, so
 * that verdicts on its tokens stay good; one that is gone takes its verdicts with it, without a search for them.
 */
export class KeySet {
  readonly #parts = new Map<KeyPart, readonly LiveKey[]>();
  #all: readonly LiveKey[] = [];
  #byKid = new Map<string, readonly LiveKey[]>();
  #changed: () => void;

  /** @param changed runs when keys have come or gone: refusals for want of a key are void then. */
  constructor(changed: () => void = () => {}) {
    this.#changed = changed;
  }

  get size(): number {
    return this.#all.length;
  }

  /** Without the keys themselves. */
  list(): readonly ListedKey[] {
    return PARTS.flatMap((source) =>
      (this.#parts.get(source) ?? []).map(({ kid, alg }) => ({
        ...(kid !== undefined && { kid }),
        alg,
        source,
      })),
    );
  }

  replace(part: KeyPart, keys: readonly VerifyKey[]): void {
    const before = this.#parts.get(part) ?? [];
    const after = keys.map((key) => before.find((old) => same(old, key)) ?? { ...key, live: true });
    for (const key of before) key.live = after.includes(key);
    this.#parts.set(part, after);
    this.#index();
    if (before.length !== after.length || before.some((key) => !key.live)) this.#changed();
  }

  find(kid: string | undefined, alg: string): KeyLookup {
    return kid === undefined ? this.#only(alg) : this.#named(kid, alg);
  }

  #index(): void {
    this.#all = PARTS.flatMap((part) => this.#parts.get(part) ?? []);
    this.#byKid = new Map();
    for (const key of this.#all) {
      if (key.kid !== undefined) this.#byKid.set(key.kid, [...(this.#byKid.get(key.kid) ?? []), key]);
    }
  }

  #named(kid: string, alg: string): KeyLookup {
    const keys = this.#byKid.get(kid);
    if (keys === undefined)
      return refused('unknown_kid', `no key is configured for the kid of the token${shown(kid)}`);
    const key = keys.find((each) => each.alg === alg);
    return key ? { ok: true, key } : refused('alg', 'the alg of the token is not the one of its key');
  }

  #only(alg: string): KeyLookup {
    const fitting = this.#all.filter((key) => key.alg === alg);
    const [key] = fitting;
    if (key !== undefined && fitting.length === 1) return { ok: true, key };
    if (key === undefined) return refused('unknown_kid', 'no key is configured for the alg of the token');
    return refused('ambiguous_key', 'the token names no kid, and several keys have its alg');
  }
}

function same(a: VerifyKey, b: VerifyKey): boolean {
  return a.kid === b.kid && a.alg === b.alg && a.key.equals(b.key);
}

function refused(kind: TokenRefusal, reason: string): KeyLookup {
  return { ok: false, kind, reason };
}

/** The kid is the sender's text and the reason ends up in headers: only what is harmless there is repeated. */
function shown(kid: string): string {
  return /^[\w.-]{1,64}$/.test(kid) ? ` (${kid})` : '';
}

/** @throws when a key cannot be used or a kid stands twice: loadConfig refuses both before. */
export function staticKeys(settings: readonly KeySetting[]): readonly VerifyKey[] {
  const kids = new Set<string>();
  return settings.map((setting) => {
    const imported = importVerifyKey(setting);
    if (!imported.ok) throw new Error(`key ${setting.kid}: ${imported.reason}`);
    if (kids.has(setting.kid)) throw new Error(`key ${setting.kid} is configured twice`);
    kids.add(setting.kid);
    return imported.key;
  });
}
