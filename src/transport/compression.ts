import { deflateRawSync } from 'node:zlib';
import type { Log } from '../broker/ports.ts';
import type { Tally } from '../broker/tally.ts';

export interface CompressionSettings {
  /** `unicast`: what is sent to one connection may be compressed; what goes to a room's subscribers never is. */
  readonly mode: 'off' | 'unicast';
  /** Shorter messages go as they are. */
  readonly thresholdBytes: number;
  /** Longer ones too: deflating one would hold the loop up. */
  readonly maxBytes: number;
  /** Nothing is compressed while the p99 of the loop's lag is above this. */
  readonly loopLagMs: number;
}

/** 1 ms of the loop. */
const SAMPLE_BYTES = 64 * 1024;

export const NO_COMPRESSION: CompressionSettings = {
  mode: 'off',
  thresholdBytes: 0,
  maxBytes: 0,
  loopLagMs: 0,
};

/** What permessage-deflate is used for: message by message, and not at all while the loop is late. */
export class Compression {
  readonly #settings: CompressionSettings;
  readonly #tally: Tally;
  readonly #log: Log;
  #sampleDue = true;

  constructor(settings: CompressionSettings, tally: Tally, log: Log) {
    this.#settings = settings;
    this.#tally = tally;
    this.#log = log;
    tally.compressing = this.enabled;
  }

  /** Whether connections may negotiate it. */
  get enabled(): boolean {
    return this.#settings.mode === 'unicast';
  }

  /** The guard. To be called about once a second with the p99 of the loop's recent lag. */
  observe(lagMs: number): void {
    if (!this.enabled) return;
    this.#sampleDue = true;
    const calm = lagMs <= this.#settings.loopLagMs;
    if (calm === this.#tally.compressing) return;
    this.#tally.compressing = calm;
    if (calm) this.#log.info({ lagMs }, 'compression is on again');
    else this.#log.warn({ lagMs }, 'compression is off: the loop is late');
  }

  /** uWebSockets.js does not tell what it makes of a message: one of each second is deflated here as well. */
  sample(data: string | Uint8Array): void {
    if (!this.#sampleDue || data.length > SAMPLE_BYTES) return;
    this.#sampleDue = false;
    const { compressionSample } = this.#tally;
    compressionSample.before += Buffer.byteLength(data);
    compressionSample.after += deflateRawSync(data).byteLength;
  }

  /** Whether a message of so many bytes, to a connection that has negotiated it, is to be compressed. Counts it. */
  takes(bytes: number): boolean {
    const { thresholdBytes, maxBytes } = this.#settings;
    if (bytes < thresholdBytes || bytes > maxBytes) return false;
    if (!this.#tally.compressing) {
      this.#tally.uncompressed++;
      return false;
    }
    this.#tally.compressed++;
    this.#tally.compressedBytes += bytes;
    return true;
  }
}
