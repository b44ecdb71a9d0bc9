/** Why something was refused for a limit: a closed set, so that it can label a metric. */
export const REFUSAL_REASONS = [
  'revoked',
  'banned_identity',
  'banned_address',
  'address_attempts',
  'address_connections',
  'node_connections',
  'tenant_disabled',
  'tenant_connections',
  'user_connections',
  'duplicate_session',
  'connection_rate',
  'connection_rooms',
  'connection_ephemeral',
  'tenant_publish',
  'tenant_publish_bytes',
  'tenant_day_bytes',
  'tenant_deliveries',
  'tenant_ephemeral',
  'node_ephemeral',
  'tenant_rooms',
  'room_members',
  'tenant_presence',
  'unfair',
] as const;

export type RefusalReason = (typeof REFUSAL_REASONS)[number];
