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
 * growing: nothing yet; accepts, lag, full: a survivor; away: those sent away take long to come back; deadline: it asks for more, or its last part has begun; fast: somebody
 * waits for the end.
 */
export const DRAIN_LIMITS = [
  'none',
  'alone',
  'growing',
  'accepts',
  'lag',
  'full',
  'away',
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
  /** Beyond what they need by themselves, those sent away are without a connection for so long on average at most. */
  readonly awayMs: number;
}

/** Of those who have been sent away and have come back elsewhere since the last round. */
export interface Returns {
  readonly perSecond: number;
  /** How long they were without a connection, on average. */
  readonly awayMs: number;
}

export interface Round {
  readonly survivors: readonly Survivor[];
  /** Nodes that send clients away now, this one included: they share what the survivors take. */
  readonly drainers: number;
  /** Absent: nobody is expected back. */
  readonly returns?: Returns | undefined;
  /** Connections without a slot, and the milliseconds in which they should have had one. */
  readonly left: number;
  readonly remainingMs: number;
}

/** Of what a survivor is free to take: the first heartbeats show whether it can. */
const START = 1 / 16;
/**
 * With each heartbeat while nothing is strained. What a heartbeat tells is as old as the one before, so a step may be one
 * too many: doubled, the others' p99 rose from 18 to 168 ms in a restart of 5,000 clients, and to 55 and 76 ms so.
 */
const GROWTH = 1.5;
/** Of the pace at which something was strained: the growth with each heartbeat from then on. */
const STEP = 1 / 10;
/** Of what a survivor takes at most: slower than that no drain gets, nor its growth, or it would wait for the deadline. */
const FLOOR = 1 / 50;
/** Accepts are counted over a window that is not that of the rounds: a tenth too many says nothing. */
const TOLERANCE = 1.1;
/** Of what the way takes: so that who waits there becomes fewer. */
const EASED = 0.7;
/** Of those sent away in the last round, so many have to be back in this one: else it does not grow. */
const KEEPS_UP = 1 / 2;
/** Above this share of a limit the pace stays. */
const CALM = 0.75;

/**
 * As TCP finds the pace of a network: it grows by half with each heartbeat until a survivor is strained, halves then, and
 * grows in even steps from there. A balancer spreads those that come back evenly, so the survivor that can take the
 * least sets the pace for all of them. What lies between, proxies and the clients themselves, shows only in how
 * long those are without a connection who have been sent away. Where the deadline asks for more, all that is left is spread evenly
 * rather than sent at its end, unless a survivor is strained.
 */
export class DrainBudget {
  readonly #settings: BudgetSettings;
  /** Connections a second for each survivor, from all that drain. undefined: not begun. */
  #share: number | undefined;
  /** The share at which something was strained last, or what came back then; undefined: nothing was. */
  #reached: number | undefined;
  #strained = false;
  /** The shortest time, on average of a round, that clients needed to come back. */
  #promptMs = Number.POSITIVE_INFINITY;

  constructor(settings: BudgetSettings) {
    this.#settings = settings;
  }

  /** To be called once with each heartbeat. */
  next(round: Round): Pace {
    const { survivors, drainers, left, remainingMs } = round;
    if (survivors.length === 0) return this.#alone(left, remainingMs);
    const able = survivors.filter(({ spare }) => spare > 0);
    const [least, ...rest] = able;
    if (least === undefined)
      return { perSecond: this.#settings.perSecond * FLOOR, limit: 'full', survivors: 0 };
    const weakest = rest.reduce((a, b) => (mostOf(b) < mostOf(a) ? b : a), least);
    const strains = able.map((survivor) => strainOf(survivor, this.#settings.loopLagMs));
    const path = this.#pathOf(round, able.length);
    if (path !== undefined) strains.push(path);
    const worst = strains.reduce((a, b) => (b.strain > a.strain ? b : a));
    const most = mostOf(weakest);
    const share = this.#share;
    const wanted = share === undefined ? this.#begun(able, worst) : this.#changed(share, most, worst, path);
    this.#share = Math.min(most, Math.max(most * FLOOR, wanted));
    const toAll = able.length / Math.max(1, drainers);
    const perSecond = this.#share * toAll;
    const even = Math.min(most * toAll, evenPace(left, remainingMs));
    if (even > perSecond && !strains.some(isSurvivorsOwn))
      return { perSecond: even, limit: 'deadline', survivors: able.length };
    return { perSecond, ...this.#limitOf(worst, weakest), survivors: able.length };
  }

  /** Spread over all the time there is; few connections are gone sooner. */
  #alone(left: number, remainingMs: number): Pace {
    const perSecond = Math.max(this.#settings.perSecond, evenPace(left, remainingMs));
    return { perSecond, limit: 'alone', survivors: 0 };
  }

  #begun(able: readonly Survivor[], { strain }: Strain): number {
    const free = able.map((survivor) => mostOf(survivor) - survivor.acceptsPerSecond);
    return strain > 1 ? 0 : Math.min(...free) * START;
  }

  #changed(share: number, most: number, worst: Strain, path: Strain | undefined): number {
    if (worst.strain > 1) return this.#eased(share, worst.takes);
    this.#strained = false;
    if (worst.strain > CALM) return share;
    if (this.#reached !== undefined) return share + Math.max(this.#reached * STEP, most * FLOOR);
    return (path?.takes ?? share) < share * KEEPS_UP ? share : share * GROWTH;
  }

  #eased(share: number, takes: number | undefined): number {
    if (takes !== undefined || !this.#strained) this.#reached = takes ?? share;
    this.#strained = true;
    return takes === undefined ? share / 2 : Math.min(share, takes * EASED);
  }

  /** Who waits on the way comes back at the pace of the way: the pace goes a little below it, until nobody waits. */
  #pathOf({ returns, drainers }: Round, able: number): Strain | undefined {
    if (returns === undefined) return undefined;
    const { perSecond, awayMs } = returns;
    this.#promptMs = Math.min(this.#promptMs, awayMs);
    const strain = (awayMs - this.#promptMs) / this.#settings.awayMs;
    return { limit: 'away', strain, takes: (perSecond * drainers) / able };
  }

  #limitOf({ strain, limit, node }: Strain, weakest: Survivor): Pick<Pace, 'limit' | 'limitedBy'> {
    if (strain > CALM) return { limit, ...(node !== undefined && { limitedBy: node }) };
    if (this.#share === mostOf(weakest)) return { limit: 'accepts', limitedBy: weakest.node };
    return { limit: 'growing' };
  }
}

/** In connections a second: over all the time there is. */
function evenPace(left: number, remainingMs: number): number {
  return (left * 1000) / Math.max(1, remainingMs);
}

/** What it takes in a second; the last places of a node are not for one second. */
function mostOf({ acceptsMax, spare }: Survivor): number {
  return Math.min(acceptsMax, spare);
}

interface Strain {
  /** Absent: no single one. */
  readonly node?: string;
  readonly limit: 'accepts' | 'lag' | 'away';
  /** Over 1: too much. */
  readonly strain: number;
  /** The share that it takes, where that is known. */
  readonly takes?: number;
}

/** A node that takes connections has too much to do. */
function isSurvivorsOwn({ node, strain }: Strain): boolean {
  return node !== undefined && strain > 1;
}

function strainOf({ node, acceptsPerSecond, acceptsMax, loopLagMs }: Survivor, lagLimitMs: number): Strain {
  const byAccepts = acceptsPerSecond / (acceptsMax * TOLERANCE);
  const byLag = loopLagMs / lagLimitMs;
  return byLag > byAccepts
    ? { node, limit: 'lag', strain: byLag }
    : { node, limit: 'accepts', strain: byAccepts };
}
