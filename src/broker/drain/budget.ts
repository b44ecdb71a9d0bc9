/** How many connections a second a draining node may send away, by what the others can take. Pure. */

/** A node that goes on, as its last heartbeat tells. */
export interface Survivor {
  readonly node: string;
  readonly acceptsPerSecond: number;
  /** The most connections a second that it wants. */
  readonly acceptsMax: number;
  /** Connections that it still has room for. */
  readonly spare: number;
  /** p99 of how late its event loop has run since about the last heartbeat. */
  readonly loopLagMs: number;
}

/**
 * What keeps the pace from being higher. none: nothing drains; alone: no survivor is known, the pace is the fixed one;
 * growing: nothing yet; accepts, lag, full: a survivor; deadline: the last part of the deadline has begun; fast: somebody
 * waits for the end.
 */
export const DRAIN_LIMITS = [
  'none',
  'alone',
  'growing',
  'accepts',
  'lag',
  'full',
  'deadline',
  'fast',
] as const;
export type DrainLimit = (typeof DRAIN_LIMITS)[number];

export interface Pace {
  readonly perSecond: number;
  readonly limit: DrainLimit;
  /** The survivor that limits. */
  readonly limitedBy?: string;
  readonly survivors: number;
}

export interface BudgetSettings {
  /** Connections a second where no survivor is known. */
  readonly perSecond: number;
  /** A survivor whose loop is later than this has too much to do. */
  readonly loopLagMs: number;
}

export interface Round {
  readonly survivors: readonly Survivor[];
  /** Nodes that send clients away now, this one included: they share what the survivors take. */
  readonly drainers: number;
  /** Connections without a slot, and the milliseconds in which they should have had one. */
  readonly left: number;
  readonly remainingMs: number;
}

/** Of what a survivor is free to take: the first heartbeats show whether it can. */
const START = 1 / 4;
/** Of what a survivor takes at most: the growth with each heartbeat, once one has been strained. */
const STEP = 1 / 10;
/** Of what a survivor takes at most: slower than that no drain gets, or it would wait for the deadline. */
const FLOOR = 1 / 50;
/** Accepts are counted over a window that is not that of the rounds: a tenth too many says nothing. */
const TOLERANCE = 1.1;
/** Above this share of a limit the pace stays. */
const CALM = 0.75;

/**
 * As TCP finds the pace of a network: it doubles with each heartbeat until a survivor is strained, halves then, and
 * grows in even steps from there. A balancer spreads those that come back evenly, so the survivor that can take the
 * least sets the pace for all of them.
 */
export class DrainBudget {
  readonly #settings: BudgetSettings;
  /** Connections a second for each survivor, from all that drain. undefined: not begun. */
  #share: number | undefined;
  #doubling = true;

  constructor(settings: BudgetSettings) {
    this.#settings = settings;
  }

  /** To be called once with each heartbeat. */
  next({ survivors, drainers, left, remainingMs }: Round): Pace {
    if (survivors.length === 0) return this.#alone(left, remainingMs);
    const able = survivors.filter(({ spare }) => spare > 0);
    const [least, ...rest] = able;
    if (least === undefined)
      return { perSecond: this.#settings.perSecond * FLOOR, limit: 'full', survivors: 0 };
    const weakest = rest.reduce((a, b) => (mostOf(b) < mostOf(a) ? b : a), least);
    const strains = able.map((survivor) => strainOf(survivor, this.#settings.loopLagMs));
    const worst = strains.reduce((a, b) => (b.strain > a.strain ? b : a));
    const most = mostOf(weakest);
    this.#share = Math.min(most, Math.max(most * FLOOR, this.#grown(able, most, worst.strain)));
    const perSecond = (this.#share * able.length) / Math.max(1, drainers);
    return { perSecond, ...this.#limitOf(worst, weakest), survivors: able.length };
  }

  /** Spread over all the time there is; few connections are gone sooner. */
  #alone(left: number, remainingMs: number): Pace {
    const needed = (left * 1000) / Math.max(1, remainingMs);
    return { perSecond: Math.max(this.#settings.perSecond, needed), limit: 'alone', survivors: 0 };
  }

  #grown(able: readonly Survivor[], most: number, strain: number): number {
    const share = this.#share;
    if (share === undefined) {
      const free = able.map((survivor) => mostOf(survivor) - survivor.acceptsPerSecond);
      return strain > 1 ? 0 : Math.min(...free) * START;
    }
    if (strain > 1) {
      this.#doubling = false;
      return share / 2;
    }
    if (strain > CALM) return share;
    return this.#doubling ? share * 2 : share + most * STEP;
  }

  #limitOf({ strain, limit, node }: Strain, weakest: Survivor): Pick<Pace, 'limit' | 'limitedBy'> {
    if (strain > CALM) return { limit, limitedBy: node };
    if (this.#share === mostOf(weakest)) return { limit: 'accepts', limitedBy: weakest.node };
    return { limit: 'growing' };
  }
}

/** What it takes in a second; the last places of a node are not for one second. */
function mostOf({ acceptsMax, spare }: Survivor): number {
  return Math.min(acceptsMax, spare);
}

interface Strain {
  readonly node: string;
  readonly limit: 'accepts' | 'lag';
  /** Over 1: too much. */
  readonly strain: number;
}

function strainOf({ node, acceptsPerSecond, acceptsMax, loopLagMs }: Survivor, lagLimitMs: number): Strain {
  const byAccepts = acceptsPerSecond / (acceptsMax * TOLERANCE);
  const byLag = loopLagMs / lagLimitMs;
  return byLag > byAccepts
    ? { node, limit: 'lag', strain: byLag }
    : { node, limit: 'accepts', strain: byAccepts };
}
