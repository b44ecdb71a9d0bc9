/** Bans that the broker makes itself: of those who connect again and again, and of those who break the protocol. */
import { CLOSE_CODES, CLOSE_TOO_BIG } from '../../protocol/codes.ts';
import type { Rate } from '../limits/bucket.ts';
import { Buckets } from '../limits/buckets.ts';
import type { Clock, Identity, Log } from '../ports.ts';
import type { AbuseSettings } from '../settings.ts';
import type { BannedBy, Bans, BanTarget } from './bans.ts';
import { networkOf, parseAddress, parseNetwork, showNetwork } from './network.ts';

export interface AbuseParts {
  readonly settings: AbuseSettings;
  readonly bans: Bans;
  /** How many automatic bans there are. */
  readonly made: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

const OFFENCES: ReadonlySet<number> = new Set([
  CLOSE_CODES.bad_request.code,
  CLOSE_CODES.too_many_errors.code,
  CLOSE_CODES.rate_limited.code,
  CLOSE_TOO_BIG,
]);

/** Buckets looked at per count, to forget idle ones: more than a count can add. */
const SWEEP = 2;
const IPV6_NETWORK_BITS = 64;

/** Counted on this node alone; a ban holds on all of them. */
export class Abuse {
  readonly #parts: AbuseParts;
  readonly #userConnects: Buckets;
  readonly #addressConnects: Buckets;
  readonly #offences: Buckets;
  /** Bans on their way into the store. */
  readonly #making = new Set<string>();

  constructor(parts: AbuseParts) {
    this.#parts = parts;
    const { windowMs, userConnects, addressConnects, offences, entries } = parts.settings;
    const counted = (most: number) => new Buckets(within(most, windowMs), entries);
    this.#userConnects = counted(userConnects);
    this.#addressConnects = counted(addressConnects);
    this.#offences = counted(offences);
  }

  connected(identity: Identity, address: string): void {
    const reason = 'too many connects';
    this.#count(this.#userConnects, userTarget(identity), 'flapping', reason);
    this.#count(this.#addressConnects, addressTarget(address), 'flapping', reason);
  }

  /** @param code of the close */
  closed(identity: Identity, address: string, code: number): void {
    if (!OFFENCES.has(code)) return;
    const reason = 'too many connections that had to be closed for what they sent';
    this.#count(this.#offences, userTarget(identity), 'abuse', reason);
    this.#count(this.#offences, addressTarget(address), 'abuse', reason);
  }

  #count(buckets: Buckets, target: BanTarget | undefined, by: BannedBy, reason: string): void {
    if (target === undefined) return;
    const key = keyOf(target);
    const now = this.#parts.clock.now();
    buckets.sweep(now, SWEEP);
    if (buckets.take(key, 1, now) > 0 && !this.#making.has(key)) void this.#ban(key, target, by, reason);
  }

  async #ban(key: string, target: BanTarget, by: BannedBy, reason: string): Promise<void> {
    const { bans, settings, made, log } = this.#parts;
    if (made() >= settings.bansMax)
      return log.warn({ by, target }, 'as many automatic bans as abuse.bansMax allows');
    this.#making.add(key);
    try {
      const banned = await bans.ban(target, reason, by, Math.ceil(settings.banMs / 1000));
      if (banned.ok) log.info({ audit: true, by, target, ban: banned.id }, 'banned');
      else log.warn({ by, target, why: banned.why }, 'an automatic ban could not be stored');
    } finally {
      this.#making.delete(key);
    }
  }
}

/** 0: no limit. */
function within(most: number, windowMs: number): Rate {
  return { perSecond: (most * 1000) / windowMs, burst: most };
}

function userTarget({ user, tenant }: Identity): BanTarget {
  return { kind: 'user', user, tenant };
}

/** undefined: this machine, or no address. */
function addressTarget(address: string): BanTarget | undefined {
  const parsed = networkOf(address) === undefined ? undefined : parseAddress(address);
  if (parsed === undefined) return undefined;
  const network = parsed.family === 4 ? parsed : parseNetwork(`${showNetwork(parsed)}/${IPV6_NETWORK_BITS}`);
  return network && { kind: 'network', network: showNetwork(network) };
}

function keyOf(target: BanTarget): string {
  if (target.kind === 'user') return `user ${target.tenant} ${target.user}`;
  return target.kind === 'network' ? target.network : target.tenant;
}
