import { decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import type { Identity, RoomGrant, TokenVerifier, Verdict } from '../broker/ports.ts';
import { digestOf, Lru } from './cache.ts';
import { type ClaimsPolicy, judgeClaims } from './claims.ts';
import { isForged } from './forged.ts';
import type { KeyLookup, LiveKey } from './keyset.ts';
import { type IssuerKeys, type JwksOptions, type Realm, type RealmOptions, Realms } from './realms.ts';
import { type Denial, denial, denialOf, expired, FORGED, notYet } from './reasons.ts';
import { type IssuerRights, within } from './rights.ts';
import type { Around } from './surroundings.ts';
import { Webhook, type WebhookOptions } from './webhook.ts';

/** The issuer of the fields here may be absent: its keys then vouch for any `iss` that `issuers` does not name. */
export interface VerifierOptions extends RealmOptions, ClaimsPolicy {
  readonly issuers: readonly RealmOptions[];
  readonly jwks: JwksOptions;
  /** Who is asked about credentials that are no JWT; absent: they are refused. */
  readonly webhook?: WebhookOptions;
  readonly clockToleranceSeconds: number;
  /** Good verdicts kept. 0: none. */
  readonly cacheEntries: number;
}

export interface Verifier extends TokenVerifier {
  /** Fetches keys and goes on doing so. @throws when a file of keys cannot be used. */
  start(): Promise<void>;
  /** The keys in use, without key material. */
  keys(): readonly IssuerKeys[];
  /** Fetches the key sets behind URLs now. */
  refreshKeys(): Promise<void>;
  close(): void;
}

/** A header line with more does not fit through uWebSockets.js, which takes 4,096 bytes of head. */
export const TOKEN_BYTES_MAX = 4096;

/** How long a refusal is repeated without looking again. Short: keys and clocks get mended. */
const REFUSAL_MS = 10_000;
/** Of its own, so that a flood of forged tokens forgets forged tokens only. */
const REFUSALS_MAX = 10_000;
/** Claims of `rooms` shared between identities: most tokens of an installation say one of a few things. */
const SHARED_GRANTS_MAX = 1000;

const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** What a webhook is shown: no spaces, no control characters. */
const OPAQUE = /^[\x21-\x7e]+$/;

const MALFORMED = denial('malformed', 'the token is not a well-formed JWT');
const TOO_LONG = denial('too_long', `the token is longer than ${TOKEN_BYTES_MAX} bytes`);
const REMOVED = denial('key_removed', 'the key of the token is not in use any more');

interface Good {
  readonly verdict: Extract<Verdict, { ok: true }>;
  /** Absent where a webhook vouched for the token. */
  readonly key?: LiveKey;
  /** Seconds since 1970. */
  readonly exp: number | undefined;
  readonly nbf: number | undefined;
  /** Milliseconds since 1970. */
  readonly until?: number;
}

interface Bad {
  readonly denial: Denial;
  /** Milliseconds since 1970. */
  readonly until: number;
  /** Of the keys: with other ones the verdict could be another. */
  readonly version: number;
}

type Outcome = Good | Denial;

interface Named {
  readonly realm: Realm;
  readonly kid: string | undefined;
  readonly alg: string;
}

/** @throws when a key cannot be used: loadConfig refuses such before. */
export function createVerifier(options: VerifierOptions, around: Around): Verifier {
  return new CachingVerifier(options, around);
}

class CachingVerifier implements Verifier {
  readonly #options: VerifierOptions;
  readonly #realms: Realms;
  readonly #webhook: Webhook | undefined;
  readonly #around: Around;
  readonly #good: Lru<Good>;
  readonly #bad = new Lru<Bad>(REFUSALS_MAX);
  readonly #grants = new Lru<readonly RoomGrant[]>(SHARED_GRANTS_MAX);
  /** A thousand clients with one token, coming back at once, cost one check. */
  readonly #running = new Map<string, Promise<Outcome>>();
  #version = 0;

  constructor(options: VerifierOptions, around: Around) {
    this.#options = options;
    this.#around = around;
    this.#realms = new Realms(options, around, () => {
      this.#version++;
    });
    if (options.webhook !== undefined) this.#webhook = new Webhook(options.webhook, around);
    this.#good = new Lru(options.cacheEntries);
  }

  start(): Promise<void> {
    return this.#realms.start();
  }

  keys(): readonly IssuerKeys[] {
    return this.#realms.list();
  }

  refreshKeys(): Promise<void> {
    return this.#realms.refresh();
  }

  close(): void {
    this.#realms.close();
  }

  known(token: string): Verdict | undefined {
    const outcome = this.#malformed(token) ?? this.#remembered(digestOf(token)) ?? this.#refusedAtOnce(token);
    return outcome && this.#counted(outcome);
  }

  async verify(token: string): Promise<Verdict> {
    const refused = this.#malformed(token);
    if (refused) return this.#counted(refused);
    const digest = digestOf(token);
    const remembered = this.#remembered(digest);
    if (remembered) return this.#counted(remembered);
    return this.#counted(await (this.#running.get(digest) ?? this.#run(token, digest)));
  }

  #counted(outcome: Outcome): Verdict {
    if ('kind' in outcome) this.#around.counts.refusal(outcome.kind);
    return outcome.verdict;
  }

  async #run(token: string, digest: string): Promise<Outcome> {
    const running = this.#decide(token, digest);
    this.#running.set(digest, running);
    try {
      return await running;
    } finally {
      this.#running.delete(digest);
    }
  }

  /** Refused without hashing or decoding. */
  #malformed(token: string): Denial | undefined {
    if (token.length > TOKEN_BYTES_MAX) return TOO_LONG;
    return (this.#webhook === undefined ? COMPACT : OPAQUE).test(token) ? undefined : MALFORMED;
  }

  #remembered(digest: string): Outcome | undefined {
    const good = this.#good.get(digest);
    if (good) {
      const untimely = this.#untimely(good);
      if (untimely) return untimely;
      if (!this.#lapsed(good)) {
        this.#around.counts.cached++;
        return good;
      }
      this.#good.delete(digest);
    }
    const bad = this.#bad.get(digest);
    const holds = bad && this.#around.clock.now() < bad.until && bad.version === this.#version;
    return holds ? bad.denial : undefined;
  }

  /** The key that signed it is gone, or it is time to ask the webhook again. */
  #lapsed({ key, until }: Good): boolean {
    return key?.live === false || (until !== undefined && this.#around.clock.now() >= until);
  }

  /** A verdict on times holds for the moment only. The comparisons are jose's. */
  #untimely({ exp, nbf }: Good): Denial | undefined {
    const now = Math.floor(this.#around.clock.now() / 1000);
    const tolerance = this.#options.clockToleranceSeconds;
    if (exp !== undefined && exp <= now - tolerance) return expired(exp);
    if (nbf !== undefined && nbf > now + tolerance) return notYet(nbf);
    return undefined;
  }

  async #decide(token: string, digest: string): Promise<Outcome> {
    // Of before the decision: keys that come during it make it void.
    const version = this.#version;
    const outcome = await this.#judge(token);
    if (!('kind' in outcome)) this.#good.set(digest, outcome);
    else if (outcome.verdict.code !== 'unavailable')
      this.#bad.set(digest, { denial: outcome, until: this.#around.clock.now() + REFUSAL_MS, version });
    return outcome;
  }

  /**
   * What needs no signature check, no fetch and no question to be refused: not remembered either, for that would cost
   * as much again. undefined: it takes a closer look.
   */
  #refusedAtOnce(token: string): Denial | undefined {
    const named = this.#named(token);
    if (named === undefined) return undefined;
    if ('kind' in named) return named;
    const found = named.realm.findNow(named.kid, named.alg);
    if (found === undefined) return undefined;
    if (!found.ok) return keyDenial(found);
    return isForged(token, found.key) ? FORGED : undefined;
  }

  /** What the token says of its key, and whose keys those are. undefined: it is for the webhook. */
  #named(token: string): Named | Denial | undefined {
    const header = COMPACT.test(token) ? headerOf(token) : undefined;
    if (header === undefined) return this.#webhook ? undefined : MALFORMED;
    const { alg, kid } = header;
    if (typeof alg !== 'string' || (kid !== undefined && typeof kid !== 'string')) return MALFORMED;
    const realm = this.#realms.of(token);
    return realm === undefined ? MALFORMED : { realm, kid, alg };
  }

  #judge(token: string): Promise<Outcome> | Outcome {
    const named = this.#named(token);
    if (named !== undefined) return 'kind' in named ? named : this.#check(token, named);
    return this.#webhook ? this.#ask(this.#webhook, token) : MALFORMED;
  }

  async #check(token: string, { realm, kid, alg }: Named): Promise<Outcome> {
    const found = await realm.find(kid, alg);
    if (!found.ok) return keyDenial(found);
    const { key } = found;
    const { issuer, audience } = realm.options;
    try {
      const { payload } = await jwtVerify(token, key.key, {
        // The key's own, never the token's word for it.
        algorithms: [key.alg],
        clockTolerance: this.#options.clockToleranceSeconds,
        currentDate: new Date(this.#around.clock.now()),
        ...(issuer === undefined ? {} : { issuer }),
        ...(audience === undefined ? {} : { audience: [...audience] }),
      });
      this.#around.counts.verified++;
      return key.live ? this.#admitted(payload, { key }, realm.options) : REMOVED;
    } catch (error) {
      const refusal = denialOf(error);
      if (refusal) return refusal;
      throw error;
    }
  }

  async #ask(webhook: Webhook, token: string): Promise<Outcome> {
    const answer = await webhook.ask(token);
    if (!answer.ok) return answer.denial;
    const until = this.#around.clock.now() + webhook.ttlMs;
    const outcome = this.#admitted(answer.claims, { until }, webhook.rights);
    return 'kind' in outcome ? outcome : (this.#untimely(outcome) ?? outcome);
  }

  #admitted(claims: JWTPayload, by: Pick<Good, 'key' | 'until'>, rights: IssuerRights): Outcome {
    const judged = judgeClaims(claims, { ...this.#options, requireIat: this.#needsIat(claims, by) });
    if (!judged.ok) return denial('claims', judged.reason);
    const identity = within(judged.identity, rights);
    if ('kind' in identity) return identity;
    const verdict = Object.freeze({ ok: true, identity: this.#shared(identity) } as const);
    return { verdict, exp: identity.exp, nbf: numeric(claims['nbf']), ...by };
  }

  /** A JWT without `exp` and `iat` would never end. A webhook is asked anew, and vouches for the moment. */
  #needsIat({ exp }: JWTPayload, { key }: Pick<Good, 'key'>): boolean {
    return key !== undefined && (this.#options.requireIat || exp === undefined);
  }

  #shared(identity: Identity): Identity {
    // Kept by itself, so that an explanation can tell it from a claim that says the same.
    if (identity.rooms === this.#options.defaultRooms) return identity;
    const text = JSON.stringify(identity.rooms);
    const known = this.#grants.get(text);
    if (known) return Object.freeze({ ...identity, rooms: known });
    this.#grants.set(text, identity.rooms);
    return identity;
  }
}

function keyDenial({ kind, reason, retryAfterMs }: Extract<KeyLookup, { ok: false }>): Denial {
  const code = kind === 'keys_unavailable' ? 'unavailable' : 'unauthorized';
  return denial(kind, reason, code, retryAfterMs);
}

function numeric(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}

function headerOf(token: string): { readonly alg?: unknown; readonly kid?: unknown } | undefined {
  try {
    return decodeProtectedHeader(token);
  } catch (error) {
    // What jose throws here says no more than that the header is no JSON object.
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
