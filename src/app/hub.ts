import { hkdfSync, randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { createTickets } from '../auth/tickets.ts';
import type { Cluster } from '../broker/cluster.ts';
import type { Exclusions } from '../broker/exclusion/exclusions.ts';
import { Hub } from '../broker/hub.ts';
import type { Tenants } from '../broker/limits/tenants.ts';
import type { Log, TokenVerifier } from '../broker/ports.ts';
import type { NodeIdentity } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import type { WebHandler } from '../broker/web.ts';
import type { Config } from '../config.ts';
import { Transport } from '../transport/server.ts';
import type { Stores } from './bus.ts';
import { clock, later, nowMs } from './time.ts';

export function createTransport(
  config: Config,
  log: Logger,
  tally: Tally,
  verifier: TokenVerifier,
  exclusions: Exclusions,
  web: WebHandler,
): Transport {
  return new Transport({
    ...config.listen,
    policy: {
      origins: config.origins,
      missingOrigin: config.missingOrigin,
      allowQueryToken: config.auth.allowQueryToken,
    },
    proxyHops: config.trustedProxies,
    idleSeconds: config.heartbeat.idleSeconds,
    compression: config.compression,
    limits: config.limits,
    excluded: (...client) => exclusions.find(...client),
    tarpit: { holdMs: config.abuse.tarpitMs, max: config.abuse.tarpitMax },
    verifier,
    tally,
    log,
    defer: setImmediate,
    nowMs,
    web,
  });
}

export function createHub(
  config: Config,
  log: Log,
  serverId: string,
  tally: Tally,
  verifier: TokenVerifier,
  stores: Stores & {
    readonly tenants: Tenants;
    readonly cluster: Cluster;
    readonly exclusions: Exclusions;
  },
  transport: Transport,
): Hub {
  const node: NodeIdentity = { ...config.node, serverId };
  return new Hub({
    node,
    limits: config.limits,
    policies: config.rooms,
    ...stores,
    askMs: config.cluster.askMs,
    fanout: transport,
    verifier,
    clock,
    ticks: nowMs,
    batching: config.delivery,
    defer: setImmediate,
    after: later,
    tally,
    log,
    tickets: createTickets({ secrets: ticketSecrets(config), ttlSeconds: config.tickets.ttlSeconds }, clock),
    newId: () => randomBytes(16).toString('base64url'),
  });
}

/**
 * Nodes that share a token secret share this one without being told: made from it, it says nothing about it. With
 * neither, tickets are good on this node only, until it restarts.
 */
function ticketSecrets(config: Config): Uint8Array[] {
  const { secrets } = config.tickets;
  if (secrets.length > 0) return secrets.map((secret) => new TextEncoder().encode(secret));
  const shared = config.auth.keys.find((key) => key.secret !== undefined)?.secret;
  if (shared === undefined) return [randomBytes(32)];
  return [new Uint8Array(hkdfSync('sha256', shared, '', 'carillon tickets', 32))];
}
