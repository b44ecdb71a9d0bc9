import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Cluster } from '../broker/cluster.ts';
import type { RoomPolicy } from '../broker/settings.ts';
import { type AgreedSettings, SettingsAgreement } from '../broker/settings-agreement.ts';
import type { Config } from '../config.ts';

export function createAgreement(config: Config, cluster: Cluster, log: Logger): SettingsAgreement {
  return new SettingsAgreement({
    cluster,
    settings: agreedSettings(config),
    askMs: config.cluster.askMs,
    log,
  });
}

/** What all nodes of an installation have to have the same, in words: rooms, and what they share out or keep together. */
function agreedSettings(config: Config): AgreedSettings {
  const { rooms, limits, cluster, presence, tickets, tenants, nats } = config;
  const values: Record<string, string> = {
    rooms: rooms.map(({ match }) => match).join(', '),
    'limits.dedupeWindowMs': String(limits.dedupeWindowMs),
    'cluster.heartbeatMs': String(cluster.heartbeatMs),
    'cluster.missed': String(cluster.missed),
    'cluster.leaseMs': String(cluster.leaseMs),
    'cluster.skewMs': String(cluster.skewMs),
    'presence.graceMs': String(presence.graceMs),
    'tickets.ttl': String(tickets.ttlSeconds),
    'tenants.default': JSON.stringify(tenants.default),
    'nats.shards': String(nats?.shards ?? 0),
    'nats.coreOnly': String(nats?.coreOnly ?? false),
  };
  for (const room of rooms) Object.assign(values, roomValues(room));
  for (const [name, policy] of tenants.named) values[`tenants.${name}`] = JSON.stringify(policy);
  const kinds = rooms.map(({ match, history }) => ({ match, durable: history !== undefined }));
  const text = JSON.stringify([values, kinds]);
  return { digest: createHash('sha256').update(text).digest('base64url').slice(0, 16), values, rooms: kinds };
}

function roomValues({ match, history, cursor, capacity }: RoomPolicy): Record<string, string> {
  const kept = history && `${history.count} events, ${history.bytes} bytes, ${history.ageMs} ms`;
  return {
    [`rooms[${match}].history`]: kept ?? 'none: live',
    ...(cursor !== undefined && { [`rooms[${match}].cursor`]: String(cursor) }),
    ...(capacity !== undefined && { [`rooms[${match}].capacity`]: String(capacity) }),
  };
}
