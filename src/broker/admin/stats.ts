import type { Difference } from '../settings-agreement.ts';
import type { NodeView } from './view.ts';

export interface NodeStats {
  readonly node: string;
  readonly connections: number;
  readonly rooms: number;
  readonly memberships: number;
  /** Since the process began; rates are differences of two looks. */
  readonly totals: {
    readonly messagesIn: number;
    readonly published: number;
    readonly deliveries: number;
    readonly bytesIn: number;
    readonly bytesOut: number;
  };
  readonly perSecond: { readonly messagesIn: number; readonly deliveries: number };
  /** What other nodes have set otherwise. */
  readonly settings: readonly Difference[];
  readonly bus: { readonly state: 'up' | 'degraded' | 'down'; readonly detail: string };
}

interface Look {
  readonly at: number;
  readonly messagesIn: number;
  readonly deliveries: number;
}

const KEPT_MS = 10_000;

/** Rates come from a look that is about ten seconds old. */
export class Stats {
  readonly #view: NodeView;
  readonly #node: string;
  #looks: Look[];

  constructor(view: NodeView, node: string) {
    this.#view = view;
    this.#node = node;
    this.#looks = [this.#look()];
  }

  /** To be called about once a second. */
  tick(): void {
    const look = this.#look();
    this.#looks = [...this.#looks.filter(({ at }) => at >= look.at - KEPT_MS), look];
  }

  read(settings: readonly Difference[]): NodeStats {
    const { tally } = this.#view;
    const { state, detail } = this.#view.health();
    const now = this.#look();
    const before = this.#looks[0] as Look;
    const seconds = Math.max(1, now.at - before.at) / 1000;
    const rate = (name: 'messagesIn' | 'deliveries') => Math.round((now[name] - before[name]) / seconds);
    return {
      node: this.#node,
      connections: tally.connections,
      rooms: tally.rooms,
      memberships: tally.memberships,
      totals: {
        messagesIn: tally.messagesIn,
        published: tally.published,
        deliveries: tally.deliveries,
        bytesIn: tally.bytesIn,
        bytesOut: tally.bytesOut,
      },
      perSecond: { messagesIn: rate('messagesIn'), deliveries: rate('deliveries') },
      settings,
      bus: { state, detail },
    };
  }

  #look(): Look {
    const { messagesIn, deliveries } = this.#view.tally;
    return { at: this.#view.now(), messagesIn, deliveries };
  }
}
