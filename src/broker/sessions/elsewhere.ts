import type { Cancel, Cluster } from '../cluster.ts';
import type { Tenants } from '../limits/tenants.ts';
import type { Identity, Resumption } from '../ports.ts';
import { isBefore, type Stamped, type Stamps } from './stamps.ts';

export interface ElsewhereParts {
  readonly cluster: Cluster;
  readonly tenants: Tenants;
  readonly stamps: Stamps;
  /** The longest that a handshake waits for other nodes. */
  readonly askMs: number;
}

/** A handshake that waits for what other nodes say. */
export interface Inquiry {
  /** Connections of the user on other nodes, as far as they have answered in time. Never rejects. */
  readonly others: Promise<number>;
  /** The handshake has been decided, or given up. */
  over(): void;
}

const TOPIC = 'sessions.count';

interface Question {
  readonly tenant: string;
  readonly user: string;
  /** What it continues, and so replaces. */
  readonly session?: string;
  readonly stamp: number;
}

interface Waiting extends Stamped {
  readonly session: string | undefined;
}

/**
 * How many connections a user has on other nodes, for tenants that limit them. Handshakes under way count too, where
 * they came before the one that asks: of two on two nodes at once exactly one gets in. Either the later one's node has
 * heard the question before, and gives its own a later stamp; or the question reaches it while that one is known.
 */
export class Elsewhere {
  readonly #parts: ElsewhereParts;
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #answering: Cancel;

  constructor(parts: ElsewhereParts) {
    this.#parts = parts;
    this.#answering = parts.cluster.answer(TOPIC, (question, from) =>
      from === parts.cluster.node ? 0 : this.#count(question as Question, from),
    );
  }

  close(): void {
    this.#answering();
  }

  /** undefined: nobody else has to be asked. */
  ask({ tenant, user }: Identity, resumes: Resumption | undefined): Inquiry | undefined {
    const { cluster, tenants, stamps, askMs } = this.#parts;
    const { onDuplicate, connectionsPerUser } = tenants.of(tenant).policy;
    const counted = onDuplicate === 'reject' || (onDuplicate === 'keep-all' && connectionsPerUser > 0);
    if (!counted || cluster.kind === 'embedded') return undefined;
    const key = `${tenant}\0${user}`;
    const session = resumes?.session;
    const waiting: Waiting = { stamp: stamps.next(), node: cluster.node, session };
    const known = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, known.add(waiting));
    const question: Question = {
      tenant,
      user,
      stamp: waiting.stamp,
      ...(session !== undefined && { session }),
    };
    const asked = cluster.ask(TOPIC, question, askMs);
    return {
      others: asked.then(({ answers }) =>
        [...answers.values()].reduce<number>((sum, n) => sum + Number(n), 0),
      ),
      over: () => {
        known.delete(waiting);
        if (known.size === 0 && this.#waiting.get(key) === known) this.#waiting.delete(key);
      },
    };
  }

  #count({ tenant, user, session, stamp }: Question, from: string): number {
    this.#parts.stamps.heard(stamp);
    const connected = this.#parts.tenants.known(tenant)?.users.of(user) ?? [];
    const open = connected.filter(({ id }) => id !== session).length;
    const asking = { stamp, node: from };
    const before = [...(this.#waiting.get(`${tenant}\0${user}`) ?? [])].filter(
      (other) => (session === undefined || other.session !== session) && isBefore(other, asking),
    );
    return open + before.length;
  }
}
