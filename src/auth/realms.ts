/** Who may sign for whom: each issuer has keys, an audience and tenants of its own. */
import { decodeJwt, errors } from 'jose';
import { KID_MAX } from './jwks.ts';
import { KEY_ALGORITHMS, type KeySetting } from './keys.ts';
import { type KeyLookup, KeySet, type ListedKey, staticKeys } from './keyset.ts';
import { type JwksBounds, type JwksTimes, RemoteKeys } from './remote.ts';
import type { IssuerRights } from './rights.ts';
import type { Around } from './surroundings.ts';
import { WatchedKeys } from './watched.ts';

export interface RealmOptions extends IssuerRights {
  readonly keys: readonly KeySetting[];
  readonly issuer?: string;
  /** A token has to name one of them. */
  readonly audience?: readonly string[];
  readonly jwksUrl?: string;
  readonly jwksFile?: string;
}

export interface JwksOptions extends JwksTimes, JwksBounds {
  readonly cacheDir?: string;
  readonly debounceMs: number;
  readonly pollMs: number;
}

export interface IssuerKeys {
  /** As configured, or `default`. */
  readonly issuer: string;
  readonly keys: readonly ListedKey[];
}

/** One issuer, or the tokens of no named issuer. */
export class Realm {
  readonly options: RealmOptions;
  readonly keys: KeySet;
  readonly #remote: RemoteKeys | undefined;
  readonly #file: WatchedKeys | undefined;

  constructor(options: RealmOptions, jwks: JwksOptions, around: Around, changed: () => void) {
    const { issuer = 'default', jwksUrl, jwksFile, keys } = options;
    this.options = options;
    this.keys = new KeySet(changed);
    this.keys.replace('static', staticKeys(keys));
    if (jwksUrl !== undefined)
      this.#remote = new RemoteKeys({ ...jwks, url: jwksUrl, name: `${issuer} url` }, this.keys, around);
    if (jwksFile !== undefined)
      this.#file = new WatchedKeys({ ...jwks, path: jwksFile, name: `${issuer} file` }, this.keys, around);
  }

  async start(): Promise<void> {
    await Promise.all([this.#file?.start(), this.#remote?.start()]);
  }

  list(): IssuerKeys {
    return { issuer: this.options.issuer ?? 'default', keys: this.keys.list() };
  }

  /** Fetches the set behind the URL now; files are watched. */
  async refresh(): Promise<void> {
    await this.#remote?.refresh();
  }

  close(): void {
    this.#file?.close();
    this.#remote?.close();
  }

  find(kid: string | undefined, alg: string): KeyLookup | Promise<KeyLookup> {
    return this.findNow(kid, alg) ?? this.#remote?.seek(kid, alg) ?? this.keys.find(kid, alg);
  }

  /** undefined: the issuer may have the key, and has to be asked. */
  findNow(kid: string | undefined, alg: string): KeyLookup | undefined {
    const found = this.keys.find(kid, alg);
    if (found.ok || found.kind !== 'unknown_kid' || this.#remote === undefined) return found;
    // What no key set can hold is not asked for.
    const possible = (kid ?? '').length <= KID_MAX && KEY_ALGORITHMS.some((known) => known === alg);
    return possible && alg !== 'HS256' ? undefined : found;
  }
}

export class Realms {
  readonly #all: readonly Realm[];
  readonly #byIssuer: ReadonlyMap<string, Realm>;
  readonly #default: Realm;

  constructor(
    options: RealmOptions & { readonly issuers: readonly RealmOptions[]; readonly jwks: JwksOptions },
    around: Around,
    changed: () => void,
  ) {
    const { issuers, jwks, ...top } = options;
    this.#default = new Realm(top, jwks, around, changed);
    const named = issuers.map((each) => new Realm(each, jwks, around, changed));
    this.#all = [this.#default, ...named];
    this.#byIssuer = new Map(named.map((realm) => [realm.options.issuer ?? '', realm]));
  }

  list(): readonly IssuerKeys[] {
    return this.#all.map((realm) => realm.list());
  }

  async refresh(): Promise<void> {
    await Promise.all(this.#all.map((realm) => realm.refresh()));
  }

  async start(): Promise<void> {
    await Promise.all(this.#all.map((realm) => realm.start()));
  }

  close(): void {
    for (const realm of this.#all) realm.close();
  }

  /**
   * By the token's own word for its issuer, which the signature has to bear out: only that issuer's keys are tried,
   * so that one issuer cannot sign for another. undefined: the payload is no JSON object.
   */
  of(token: string): Realm | undefined {
    if (this.#byIssuer.size === 0) return this.#default;
    try {
      const { iss } = decodeJwt(token);
      return (typeof iss === 'string' ? this.#byIssuer.get(iss) : undefined) ?? this.#default;
    } catch (error) {
      if (error instanceof errors.JWTInvalid) return undefined;
      throw error;
    }
  }
}
