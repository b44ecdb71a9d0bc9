import { hkdfSync, randomBytes } from 'node:crypto';
import { TicketKeys } from '../auth/ticket-keys.ts';
import type { Cluster } from '../broker/cluster.ts';
import type { Log } from '../broker/ports.ts';
import type { Config } from '../config.ts';
import { clock } from './time.ts';

export interface TicketSecrets {
  /** The first signs, all of them open. */
  readonly secrets: () => readonly Uint8Array[];
  /** When the cluster has started. */
  start(): Promise<void>;
  /** To be called about once a second. */
  tick(): void;
}

const STORE = 'ticket-keys';

export function createTicketSecrets(config: Config, cluster: Cluster, log: Log): TicketSecrets {
  const { secrets, ttlSeconds, rotateSeconds } = config.tickets;
  if (secrets.length > 0) return fixed(secrets.map((secret) => new TextEncoder().encode(secret)));
  const fallback = ownSecret(config);
  if (!keepsStores(config)) return fixed([fallback]);
  return new TicketKeys({ store: cluster.store(STORE), ttlSeconds, rotateSeconds, fallback, clock, log });
}

function fixed(secrets: readonly Uint8Array[]): TicketSecrets {
  return { secrets: () => secrets, start: async () => {}, tick: () => {} };
}

/** Whether what is in a store is there for the other nodes, or after a restart. */
function keepsStores({ nats, state }: Config): boolean {
  return nats === undefined ? state.dir !== undefined : !nats.coreOnly;
}

/**
 * Nodes that share a token secret share this one without being told: made from it, it says nothing about it. With
 * neither, tickets are good on this node only, until it restarts.
 */
function ownSecret({ auth }: Config): Uint8Array {
  const shared = auth.keys.find((key) => key.secret !== undefined)?.secret;
  return shared === undefined
    ? randomBytes(32)
    : new Uint8Array(hkdfSync('sha256', shared, '', 'carillon tickets', 32));
}
