/** The key set behind a URL: fetched ahead of need, asked again for a kid that it lacks, kept while the URL is away. */
import type { KeySetState, RefreshOutcome } from '../broker/identity-counts.ts';
import { Lru } from './cache.ts';
import { type HttpAnswer, request } from './http.ts';
import { type JwksResult, parseJwks } from './jwks.ts';
import type { KeyLookup, KeySet } from './keyset.ts';
import { readStored, writeStored } from './stored.ts';
import type { Around } from './surroundings.ts';

export interface JwksTimes {
  /** Between two fetches while all is well. Up to a tenth less, so that nodes do not ask together. */
  readonly refreshMs: number;
  /** After a fetch for an unknown kid that did not bring it, no other is made for one. */
  readonly cooldownMs: number;
  readonly timeoutMs: number;
  /** How long the last good set is used while no new one can be had. */
  readonly staleMs: number;
}

export interface JwksBounds {
  readonly bytes: number;
  readonly keysMax: number;
  /** Tokens that wait for one fetch. */
  readonly waiting: number;
}

export interface RemoteOptions extends JwksTimes, JwksBounds {
  readonly url: string;
  /** In logs and metrics. */
  readonly name: string;
  /** Folder of the last good sets, for a start while the URL is away. Who can write there can make keys. */
  readonly cacheDir?: string;
}

const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** Kids known to be in no set. Beyond it the oldest are asked for anew. */
const ABSENT_MAX = 1000;
/** For a token that finds too many others waiting. */
const CROWDED_MS = 1000;

export class RemoteKeys {
  readonly #options: RemoteOptions;
  readonly #set: KeySet;
  readonly #around: Around;
  readonly #absent = new Lru<number>(ABSENT_MAX);
  #running: Promise<boolean> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #waiting = 0;
  #failures = 0;
  #coolUntil = 0;
  #loadedAt: number | undefined;
  #closed = false;

  constructor(options: RemoteOptions, set: KeySet, around: Around) {
    this.#options = options;
    this.#set = set;
    this.#around = around;
    this.#note(0);
  }

  /** Resolves with the keys there, from the cache folder or the URL, or with the first attempt failed. */
  async start(): Promise<void> {
    const { cacheDir, url, staleMs } = this.#options;
    const stored = cacheDir === undefined ? undefined : await readStored(cacheDir, url, this.#around.log);
    const now = this.#around.clock.now();
    if (stored !== undefined && now - stored.fetchedAt <= staleMs)
      this.#adopt(this.#parse(stored.jwks), Math.min(stored.fetchedAt, now));
    const first = this.#refreshed();
    if (this.#loadedAt === undefined) await first;
  }

  /** Fetches now; false: that brought no usable set. */
  refresh(): Promise<boolean> {
    return this.#refreshed();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /**
   * The key that the set did not have when it was asked last. A kid that is not there after a fetch is refused for
   * the time of the cool-down; one that nobody could ask about is `keys_unavailable`, which is no verdict on it: an
   * attacker who makes up kids delays a new key's tokens, but does not get them refused.
   */
  async seek(kid: string | undefined, alg: string): Promise<KeyLookup> {
    const id = `${alg} ${kid ?? ''}`;
    const { clock } = this.#around;
    const now = clock.now();
    if ((this.#absent.get(id) ?? 0) > now) return this.#set.find(kid, alg);
    if (this.#running === undefined && now < this.#coolUntil) return unavailable(this.#coolUntil - now);
    if (this.#waiting >= this.#options.waiting) return unavailable(CROWDED_MS);
    const reached = await this.#waited();
    const found = this.#set.find(kid, alg);
    if (found.ok || found.kind !== 'unknown_kid') return found;
    const { cooldownMs } = this.#options;
    this.#coolUntil = clock.now() + cooldownMs;
    if (!reached) return unavailable(cooldownMs);
    this.#absent.set(id, this.#coolUntil);
    return found;
  }

  async #waited(): Promise<boolean> {
    this.#waiting++;
    try {
      return await this.#refreshed();
    } finally {
      this.#waiting--;
    }
  }

  /** One fetch at a time; false: it brought no usable set. */
  #refreshed(): Promise<boolean> {
    this.#running ??= this.#refresh().finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
    return this.#running;
  }

  async #refresh(): Promise<boolean> {
    const { url, bytes, timeoutMs, cacheDir } = this.#options;
    const { clock, log, counts } = this.#around;
    const headers = { accept: 'application/jwk-set+json, application/json' };
    const answer = await request(url, { headers }, { bytes, timeoutMs });
    if (this.#closed) return false;
    const parsed = this.#judge(answer);
    counts.refresh(parsed.outcome);
    if (!parsed.ok) {
      this.#failed(parsed);
      return false;
    }
    if (this.#failures > 0) log.info(this.#named(), 'the key set can be fetched again');
    this.#failures = 0;
    this.#adopt(parsed, clock.now());
    if (cacheDir !== undefined)
      await writeStored(cacheDir, { url, fetchedAt: clock.now(), jwks: parsed.text }, log);
    return true;
  }

  #judge(answer: HttpAnswer): Judged {
    if (!answer.ok) return { ok: false, outcome: answer.fault, reason: answer.fault };
    if (answer.status !== 200)
      return { ok: false, outcome: 'status', reason: `it answered with status ${answer.status}` };
    const parsed = this.#parse(answer.text);
    return parsed.ok
      ? { ...parsed, outcome: 'ok', text: answer.text }
      : { ...parsed, outcome: 'garbage', reason: `it ${parsed.reason}` };
  }

  #parse(text: string): JwksResult {
    return parseJwks(text, { symmetric: false, keysMax: this.#options.keysMax });
  }

  #adopt(parsed: JwksResult, at: number): void {
    if (!parsed.ok)
      return this.#around.log.warn({ ...this.#named(), reason: parsed.reason }, 'cached key set ignored');
    this.#set.replace('url', parsed.keys);
    this.#loadedAt = at;
    this.#note(parsed.keys.length);
  }

  #failed({ outcome, reason }: Extract<Judged, { ok: false }>): void {
    this.#failures++;
    const { clock, log } = this.#around;
    const ageMs = this.#loadedAt === undefined ? undefined : clock.now() - this.#loadedAt;
    log.warn({ ...this.#named(), outcome, reason, ageMs }, 'the key set could not be fetched');
    if (ageMs === undefined || ageMs <= this.#options.staleMs) return;
    this.#set.replace('url', []);
    this.#loadedAt = undefined;
    this.#note(0);
    log.error(this.#named(), 'the last good key set is too old: its keys are not used any more');
  }

  #schedule(): void {
    if (this.#closed) return;
    const { refreshMs } = this.#options;
    const backoff = Math.min(RETRY_FIRST_MS * 2 ** (this.#failures - 1), RETRY_MAX_MS, refreshMs);
    const ms = (this.#failures === 0 ? refreshMs : backoff) * (1 - Math.random() / 10);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#refreshed().catch((error: unknown) =>
        this.#around.log.error({ ...this.#named(), err: error }, 'the refresh of a key set failed'),
      );
    }, ms).unref();
  }

  #note(keys: number): void {
    const state: KeySetState = { loadedAt: this.#loadedAt, keys };
    this.#around.counts.keySets.set(this.#options.name, state);
  }

  #named(): object {
    // Without the query, which may hold a key to the endpoint.
    const { origin, pathname } = new URL(this.#options.url);
    return { keySet: this.#options.name, url: origin + pathname };
  }
}

type Judged =
  | (Extract<JwksResult, { ok: true }> & { readonly outcome: 'ok'; readonly text: string })
  | { readonly ok: false; readonly outcome: RefreshOutcome; readonly reason: string };

function unavailable(retryAfterMs: number): KeyLookup {
  const reason = 'the key of the token cannot be looked up now: come back';
  return { ok: false, kind: 'keys_unavailable', reason, retryAfterMs };
}
