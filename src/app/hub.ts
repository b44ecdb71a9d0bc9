import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { createTickets } from '../auth/tickets.ts';
import { Hub, type HubParts } from '../broker/hub.ts';
import type { Tally } from '../broker/tally.ts';
import type { WebHandler } from '../broker/web.ts';
import type { Config } from '../config.ts';
import { Transport } from '../transport/server.ts';
import type { RecordOfSessions } from './lifecycle.ts';
import { clock, later, nowMs } from './time.ts';

export function createTransport(
  config: Config,
  log: Logger,
  tally: Tally,
  web: WebHandler,
  shared: boolean,
): Transport {
  return new Transport({
    ...config.listen,
    shared,
    tls: config.tls,
    policy: {
      origins: config.origins,
      missingOrigin: config.missingOrigin,
      allowQueryToken: config.auth.allowQueryToken,
    },
    proxyHops: config.trustedProxies,
    idleSeconds: config.heartbeat.idleSeconds,
    compression: config.compression,
    limits: config.limits,
    tarpit: { holdMs: config.abuse.tarpitMs, max: config.abuse.tarpitMax },
    tally,
    log,
    defer: setImmediate,
    nowMs,
    web,
  });
}

export interface HubNeeds
  extends Pick<
    HubParts,
    | 'bus'
    | 'cursors'
    | 'cluster'
    | 'exclusions'
    | 'tenants'
    | 'fanout'
    | 'verifier'
    | 'tally'
    | 'log'
    | 'tracing'
  > {
  readonly serverId: string;
  readonly record: RecordOfSessions;
  readonly ticketSecrets: () => readonly Uint8Array[];
}

export function createHub(config: Config, { serverId, record, ticketSecrets, ...parts }: HubNeeds): Hub {
  return new Hub({
    ...parts,
    node: { ...config.node, serverId },
    limits: config.limits,
    policies: config.rooms,
    ...(record.parts !== undefined && { lifecycle: record.parts }),
    askMs: config.cluster.askMs,
    explain: config.explain,
    clock,
    ticks: nowMs,
    batching: config.delivery,
    presence: {
      ...config.presence,
      messageBytes: config.cluster.messageBytes,
      heartbeatMs: config.cluster.heartbeatMs,
      silenceMs: config.cluster.heartbeatMs * (config.cluster.missed - 1),
    },
    defer: setImmediate,
    after: later,
    tickets: createTickets({ secrets: ticketSecrets, ttlSeconds: config.tickets.ttlSeconds }, clock),
    newId: () => randomBytes(16).toString('base64url'),
  });
}
