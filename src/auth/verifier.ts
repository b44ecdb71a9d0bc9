import { decodeProtectedHeader, jwtVerify } from 'jose';
import type { Clock, Identity, RoomGrant, TokenVerifier, Verdict } from '../broker/ports.ts';
import { digestOf, Lru } from './cache.ts';
import { judgeClaims } from './claims.ts';
import { configuredKeys, type KeySetting, type KeySource, type VerifyKey } from './keys.ts';
import { expired, notYet, type Refusal, refusalOf, unauthorized } from './reasons.ts';

export interface VerifierOptions {
  readonly keys: readonly KeySetting[];
  readonly issuer?: string;
  /** The token has to name one of them. */
  readonly audience?: readonly string[];
  readonly clockToleranceSeconds: number;
  readonly requireExp: boolean;
  /** Access of tokens without a `rooms` claim. */
  readonly defaultRooms: readonly RoomGrant[];
  /** Good verdicts kept. 0: none. */
  readonly cacheEntries: number;
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

const MALFORMED = unauthorized('the token is not a well-formed JWT');
const TOO_LONG = unauthorized(`the token is longer than ${TOKEN_BYTES_MAX} bytes`);

interface Good {
  readonly verdict: Extract<Verdict, { ok: true }>;
  /** Seconds since 1970. */
  readonly exp: number | undefined;
  readonly nbf: number | undefined;
}

interface Bad {
  readonly verdict: Refusal;
  /** Milliseconds since 1970. */
  readonly until: number;
}

/** @throws when a key cannot be used: loadConfig refuses such before. */
export async function createVerifier(options: VerifierOptions, clock: Clock): Promise<TokenVerifier> {
  return new CachingVerifier(options, configuredKeys(options.keys), clock);
}

class CachingVerifier implements TokenVerifier {
  readonly #options: VerifierOptions;
  readonly #keys: KeySource;
  readonly #clock: Clock;
  readonly #good: Lru<Good>;
  readonly #bad = new Lru<Bad>(REFUSALS_MAX);
  readonly #grants = new Lru<readonly RoomGrant[]>(SHARED_GRANTS_MAX);
  /** A thousand clients with one token, coming back at once, cost one check. */
  readonly #running = new Map<string, Promise<Verdict>>();

  constructor(options: VerifierOptions, keys: KeySource, clock: Clock) {
    this.#options = options;
    this.#keys = keys;
    this.#clock = clock;
    this.#good = new Lru(options.cacheEntries);
  }

  known(token: string): Verdict | undefined {
    return malformed(token) ?? this.#remembered(digestOf(token));
  }

  async verify(token: string): Promise<Verdict> {
    const refused = malformed(token);
    if (refused) return refused;
    const digest = digestOf(token);
    return this.#remembered(digest) ?? this.#running.get(digest) ?? this.#run(token, digest);
  }

  async #run(token: string, digest: string): Promise<Verdict> {
    const running = this.#decide(token, digest);
    this.#running.set(digest, running);
    try {
      return await running;
    } finally {
      this.#running.delete(digest);
    }
  }

  #remembered(digest: string): Verdict | undefined {
    const good = this.#good.get(digest);
    if (good) return this.#untimely(good) ?? good.verdict;
    const bad = this.#bad.get(digest);
    return bad && this.#clock.now() < bad.until ? bad.verdict : undefined;
  }

  /** A verdict on times holds for the moment only. The comparisons are jose's. */
  #untimely({ exp, nbf }: Good): Refusal | undefined {
    const now = Math.floor(this.#clock.now() / 1000);
    const tolerance = this.#options.clockToleranceSeconds;
    if (exp !== undefined && exp <= now - tolerance) return expired(exp);
    if (nbf !== undefined && nbf > now + tolerance) return notYet(nbf);
    return undefined;
  }

  async #decide(token: string, digest: string): Promise<Verdict> {
    const key = await this.#keyOf(token);
    const verdict = 'code' in key ? key : await this.#check(token, digest, key);
    if (!verdict.ok) this.#bad.set(digest, { verdict, until: this.#clock.now() + REFUSAL_MS });
    return verdict;
  }

  async #keyOf(token: string): Promise<VerifyKey | Refusal> {
    const header = headerOf(token);
    if (header === undefined) return MALFORMED;
    const { alg, kid } = header;
    if (typeof alg !== 'string' || (kid !== undefined && typeof kid !== 'string')) return MALFORMED;
    const found = await this.#keys.find(kid, alg);
    return found.ok ? found.key : unauthorized(found.reason);
  }

  async #check(token: string, digest: string, { key, alg }: VerifyKey): Promise<Verdict> {
    const { issuer, audience, clockToleranceSeconds: clockTolerance } = this.#options;
    try {
      const { payload } = await jwtVerify(token, key, {
        // The key's own, never the token's word for it.
        algorithms: [alg],
        clockTolerance,
        currentDate: new Date(this.#clock.now()),
        ...(issuer === undefined ? {} : { issuer }),
        ...(audience === undefined ? {} : { audience: [...audience] }),
      });
      const judged = judgeClaims(payload, this.#options);
      if (!judged.ok) return unauthorized(judged.reason);
      const verdict = Object.freeze({ ok: true, identity: this.#shared(judged.identity) } as const);
      this.#good.set(digest, { verdict, exp: payload.exp, nbf: payload.nbf });
      return verdict;
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal) return refusal;
      throw error;
    }
  }

  #shared(identity: Identity): Identity {
    const text = JSON.stringify(identity.rooms);
    const known = this.#grants.get(text);
    if (known) return Object.freeze({ ...identity, rooms: known });
    this.#grants.set(text, identity.rooms);
    return identity;
  }
}

/** Refused without hashing or decoding. */
function malformed(token: string): Refusal | undefined {
  if (token.length > TOKEN_BYTES_MAX) return TOO_LONG;
  return COMPACT.test(token) ? undefined : MALFORMED;
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
