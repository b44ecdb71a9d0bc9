/** The `lifecycle` section: the record of what becomes of sessions and rooms. */
import { z } from 'zod';
import type { LifecycleSettings } from '../broker/settings.ts';
import { count, duration, flag, httpUrl, secretText, size } from './leaves.ts';
import { GIB, KIB, MIB } from './units.ts';

const HOUR_MS = 3_600_000;
const SECRET_TEXT = /^[\x21-\x7e]{32,512}$/;

const webhook = z.strictObject({
  url: httpUrl(),
  secret: secretText('at least 32 visible ASCII characters', SECRET_TEXT),
  batch: count(1, 1000).prefault(100),
  lingerMs: duration(0, 60_000).prefault('200ms'),
  timeoutMs: duration(100, 60_000).prefault('5s'),
  attempts: count(1, 100).prefault(8),
  retryMinMs: duration(10, 60_000).prefault('500ms'),
  retryMaxMs: duration(10, HOUR_MS).prefault('30s'),
  failures: count(1, 1000).prefault(5),
  openMs: duration(100, HOUR_MS).prefault('10s'),
  queue: count(100, 1_000_000).prefault(20_000),
});

export const lifecycleSchema = z.strictObject({
  enabled: flag().prefault(false),
  graceMs: duration(0, 600_000).prefault('10s'),
  ageMs: duration(HOUR_MS, 365 * 24 * HOUR_MS).prefault('7d'),
  bytes: size(MIB, 1024 * GIB).prefault('256MiB'),
  queue: count(100, 10_000_000).prefault(50_000),
  fileBytes: size(64 * KIB, GIB).prefault('64MiB'),
  files: count(2, 1000).prefault(4),
  webhook: webhook.optional(),
});

export function buildLifecycle({
  webhook: hook,
  ...rest
}: z.output<typeof lifecycleSchema>): LifecycleSettings {
  return hook === undefined ? rest : { ...rest, webhook: hook };
}
