import { type BadFile, readCertificates } from '../auth/certificates.ts';
import { Watching } from '../auth/watching.ts';
import type { Log } from '../broker/ports.ts';
import type { TlsConfig } from '../config.ts';
import { clock } from './time.ts';

const DAY_MS = 24 * 3_600_000;

/** Has new certificates served when their files have changed, and says when one is about to end. */
export class Certificates {
  readonly #tls: TlsConfig;
  readonly #log: Log;
  readonly #renew: () => void;
  readonly #watching: Watching;
  readonly reloads = new Map<'ok' | 'refused', number>();
  endsAtMs: ReadonlyMap<string, number>;
  #digest: string;
  /** So that a poll does not repeat the complaint. */
  #refused = '';
  #warnedAtMs = Number.NEGATIVE_INFINITY;

  /**
   * Made before the listener, so that what changes in between is found.
   * @param renew serves what is in the files now; throws, with nothing changed, when it cannot
   * @throws when a file has become unusable since the settings were read
   */
  constructor(tls: TlsConfig, log: Log, renew: () => void) {
    this.#tls = tls;
    this.#log = log;
    this.#renew = renew;
    const read = readCertificates(tls, clock.now());
    if (!read.ok) throw new Error(describe(read));
    this.#digest = read.digest;
    this.endsAtMs = read.endsAtMs;
    this.#watching = new Watching(
      tls,
      () => this.#look(),
      (error) => log.warn({ err: error, pollMs: tls.pollMs }, 'the TLS files are not watched, only polled'),
    );
  }

  start(): void {
    const { certFile, keyFile, caFile, sni } = this.#tls;
    const files = [certFile, keyFile, ...(caFile === undefined ? [] : [caFile])];
    this.#watching.start([...files, ...sni.flatMap((entry) => [entry.certFile, entry.keyFile])]);
    this.#look();
  }

  close(): void {
    this.#watching.close();
  }

  #look(): void {
    const read = readCertificates(this.#tls, clock.now());
    if (!read.ok) this.#refuse(describe(read));
    else if (read.digest === this.#digest) this.#refused = '';
    else if (this.#serve()) this.#taken(read.digest, read.endsAtMs);
    this.#warn();
  }

  #taken(digest: string, endsAtMs: ReadonlyMap<string, number>): void {
    this.#digest = digest;
    this.endsAtMs = endsAtMs;
    this.#refused = '';
    this.#warnedAtMs = Number.NEGATIVE_INFINITY;
    this.#count('ok');
    this.#log.info({ ends: dates(endsAtMs) }, 'new TLS certificates: connections that are there stay');
    // uWebSockets.js has read the files by itself, a moment after us: what came in between is found by another look.
    this.#watching.soon();
  }

  #serve(): boolean {
    try {
      this.#renew();
      return true;
    } catch (error) {
      this.#refuse(error instanceof Error ? error.message : String(error));
      return false;
    }
  }

  #refuse(reason: string): void {
    if (this.#refused === reason) return;
    this.#refused = reason;
    this.#count('refused');
    this.#log.error({ reason }, 'the TLS files cannot be used; the certificates stay as they were');
  }

  #warn(): void {
    const now = clock.now();
    const ending = [...this.endsAtMs].filter(([, endsAtMs]) => endsAtMs - now < this.#tls.warnMs);
    if (ending.length === 0 || now - this.#warnedAtMs < DAY_MS) return;
    this.#warnedAtMs = now;
    this.#log.warn({ ends: dates(ending) }, 'TLS certificates are about to end, or have ended');
  }

  #count(outcome: 'ok' | 'refused'): void {
    this.reloads.set(outcome, (this.reloads.get(outcome) ?? 0) + 1);
  }
}

function describe({ path, value, reason, fix }: BadFile): string {
  return `tls.${path.join('.')}: ${value}: ${reason}; ${fix}`;
}

function dates(endsAtMs: Iterable<readonly [string, number]>): Record<string, string> {
  return Object.fromEntries([...endsAtMs].map(([name, ms]) => [name, new Date(ms).toISOString()]));
}
