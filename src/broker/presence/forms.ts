/** Of which rooms the names of other nodes' members are kept, and of which only counts. */
import type { Clock } from '../ports.ts';
import type { PresenceSettings } from '../settings.ts';
import type { Asking } from './asking.ts';
import { BACK } from './mode.ts';
import type { Load, Slice } from './slice.ts';
import type { Teller } from './teller.ts';
import type { RoomPresence } from './view.ts';

export interface FormsParts {
  readonly settings: PresenceSettings;
  readonly load: Load;
  readonly clock: Clock;
  readonly teller: Teller;
  readonly asking: Asking;
  readonly changed: (view: RoomPresence) => void;
  /** The view waits for answers. */
  readonly syncing: (view: RoomPresence) => void;
}

/** Hashes that are looked at for new estimates between two ticks: 10 ms. Other rooms wait for the next. */
const WEIGHED = 100_000;
/** What has not come is asked for again. */
const RETRY_MS = 1000;

export class Forms {
  readonly #parts: FormsParts;
  /** Whose counts are estimated; those that have waited longest first. */
  readonly #counted = new Set<RoomPresence>();
  #left = WEIGHED;

  constructor(parts: FormsParts) {
    this.#parts = parts;
  }

  /** After a change of a view that is listened to. */
  fit(view: RoomPresence): void {
    if (view.counted) {
      if (view.wants === 'count') this.#forgetNames(view);
      // Whoever waits is told the list if the room has become small enough for it.
      if (!this.#counted.has(view) || (view.stale && view.whole && view.waiting.size > 0)) this.#weigh(view);
      return;
    }
    if (this.#counted.has(view)) this.#named(view);
    if (this.#crowded(view)) this.#forgetNames(view);
    else view.wants = undefined;
  }

  /** Before it is told to watchers: a new estimate, unless there have been too many. */
  estimate(view: RoomPresence): void {
    if (view.stale && this.#left > 0) this.#weigh(view);
  }

  /** Nobody listens to it any more. */
  rest(view: RoomPresence): void {
    this.#counted.delete(view);
    view.wants = undefined;
  }

  /** To be called about once a second. */
  tick(): void {
    this.#left = WEIGHED;
    for (const view of [...this.#counted]) {
      if (view.wants === 'names') this.#askNames(view);
      if (!view.stale || this.#left <= 0) continue;
      this.#weigh(view);
      this.#parts.changed(view);
    }
  }

  #weigh(view: RoomPresence): void {
    this.#counted.delete(view);
    this.#counted.add(view);
    this.#left -= view.weigh();
    if (this.#crowded(view)) this.#forgetNames(view);
    else if (view.whole && this.#roomy(view)) view.wants = 'names';
    if (view.wants === 'names') this.#askNames(view);
  }

  #crowded(view: RoomPresence): boolean {
    const { settings, load } = this.#parts;
    return (
      view.count > settings.deltaMembers ||
      (load.names > settings.othersNames && view.count > view.localCount)
    );
  }

  #roomy({ count }: RoomPresence): boolean {
    const { settings, load } = this.#parts;
    return count <= settings.deltaMembers * BACK && load.names + count <= settings.othersNames * BACK;
  }

  #forgetNames(view: RoomPresence): void {
    const { teller, syncing } = this.#parts;
    view.wants = 'count';
    teller.count(view);
    const named = view.forgetNames();
    if (named.length === 0) return;
    syncing(view);
    this.#ask(view, named, 'count');
    if (!this.#counted.has(view)) this.#weigh(view);
  }

  #askNames(view: RoomPresence): void {
    const counted = [...view.slices.values()].filter(
      ({ sample, endsAt }) => sample !== undefined && endsAt === undefined,
    );
    this.#ask(view, counted, 'names');
  }

  /** A node may answer in the other form, since somebody else wants that: it is not asked again at once. */
  #ask({ key }: RoomPresence, slices: readonly Slice[], form: 'names' | 'count'): void {
    const { asking, clock } = this.#parts;
    const now = clock.now();
    for (const slice of slices) {
      if (now - slice.formAskedAt < RETRY_MS) continue;
      slice.formAskedAt = now;
      asking.want(slice.node, [key, form]);
    }
  }

  /** All nodes tell names again. */
  #named(view: RoomPresence): void {
    this.rest(view);
    this.#parts.teller.name(view);
    this.#parts.changed(view);
  }
}
