import type { Cancel, Cluster, StoreEntry } from '../cluster.ts';
import type { After, Clock, Log } from '../ports.ts';
import type { LeaseTimes } from './allotment.ts';
import { Leases } from './leases.ts';
import type { PolicyOverride } from './policy.ts';
import type { Tenants } from './tenants.ts';

/** Entries are what a tenant's policy replaces of the default, by the tenant's name. */
export const POLICY_STORE = 'tenants';
const LEASE_STORE = 'leases';

export type ParsePolicy = (
  value: unknown,
) =>
  | { readonly ok: true; readonly policy: PolicyOverride }
  | { readonly ok: false; readonly problem: string };

export interface SharedLimitsParts {
  readonly cluster: Cluster;
  readonly tenants: Tenants;
  readonly parse: ParsePolicy;
  readonly times: LeaseTimes;
  /** Handshakes of one tenant that may wait for places. */
  readonly waiting: number;
  readonly clock: Clock;
  readonly after: After;
  readonly log: Log;
}

/** What the nodes of an installation have in common of their limits: the policies, and who may use how much of them. */
export class SharedLimits {
  readonly #parts: SharedLimitsParts;
  /** Absent on a single node, which has everything to itself. */
  readonly #leases: Leases | undefined;
  readonly #watching: Cancel;

  constructor(parts: SharedLimitsParts) {
    this.#parts = parts;
    const { cluster } = parts;
    const holder = `${cluster.node}.${cluster.incarnation}`;
    this.#leases =
      cluster.kind === 'embedded'
        ? undefined
        : new Leases({
            ...parts,
            holder,
            store: cluster.store(LEASE_STORE),
            connected: () => cluster.connected,
            nodes: () => cluster.nodes().length,
          });
    this.#watching = cluster.store(POLICY_STORE).watch(({ key, entry }) => this.#adopt(key, entry));
  }

  /** When the cluster has started: policies that were set before this node came. */
  start(): void {
    for (const entry of this.#parts.cluster.store(POLICY_STORE).entries()) this.#adopt(entry.key, entry);
  }

  /** To be called some times a second. */
  tick(): void {
    this.#leases?.tick();
  }

  /** Gives back what this node holds. */
  async close(): Promise<void> {
    this.#watching();
    await this.#leases?.close();
  }

  #adopt(tenant: string, entry: StoreEntry | undefined): void {
    const { tenants, parse, log } = this.#parts;
    if (entry === undefined) return tenants.policies.set(tenant, undefined);
    const parsed = parse(entry.value);
    // Of another version, perhaps: what held before holds on, rather than no limit at all.
    if (!parsed.ok) return log.error({ tenant, problem: parsed.problem }, 'a stored policy cannot be used');
    tenants.policies.set(tenant, parsed.policy);
  }
}
