/** The `tracing` section. */
import { z } from 'zod';
import type { TracingSettings } from '../broker/tracing.ts';
import { count, duration, httpUrl, secretText, share } from './leaves.ts';

export const tracingSchema = z.strictObject({
  endpoint: httpUrl(),
  authorization: secretText(
    'a text of visible ASCII characters and spaces',
    /^[\x20-\x7e]{1,4096}$/,
  ).optional(),
  sample: share().prefault(0.01),
  perSecond: count(1, 100_000).prefault(1000),
  queue: count(512, 1_000_000).prefault(8192),
  exportMs: duration(100, 60_000).prefault('1s'),
  timeoutMs: duration(100, 60_000).prefault('5s'),
});

export function buildTracing({ authorization, ...rest }: z.output<typeof tracingSchema>): TracingSettings {
  return authorization === undefined ? rest : { ...rest, authorization };
}
