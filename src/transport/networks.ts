import { networkOf } from '../broker/exclusion/network.ts';
import { Buckets } from '../broker/limits/buckets.ts';
import type { AddressLimits } from '../broker/settings.ts';

/** Buckets looked at per handshake, to forget the idle ones: more than a handshake can add. */
const SWEEP = 2;

/**
 * Connections and handshakes per client address, counted before a token is looked at: a signature check costs a
 * thousand times more than this.
 */
export class Networks {
  readonly #limits: AddressLimits;
  readonly #attempts: Buckets;
  readonly #open = new Map<string, number>();

  constructor(limits: AddressLimits) {
    this.#limits = limits;
    this.#attempts = new Buckets(limits.attempts, limits.entries);
  }

  /** Milliseconds to wait; 0: the attempt is counted. */
  attempt(address: string, now: number): number {
    const network = networkOf(address);
    if (network === undefined) return 0;
    this.#attempts.sweep(now, SWEEP);
    return this.#attempts.take(network, 1, now);
  }

  /** Connections of the address, where they are as many as it may have. */
  full(address: string): number | undefined {
    const { connections } = this.#limits;
    if (connections === 0) return undefined;
    const open = this.#open.get(networkOf(address) ?? '') ?? 0;
    return open >= connections ? open : undefined;
  }

  opened(address: string): void {
    const network = networkOf(address);
    if (network !== undefined) this.#open.set(network, (this.#open.get(network) ?? 0) + 1);
  }

  closed(address: string): void {
    const network = networkOf(address);
    if (network === undefined) return;
    const open = (this.#open.get(network) ?? 0) - 1;
    if (open > 0) this.#open.set(network, open);
    else this.#open.delete(network);
  }
}
