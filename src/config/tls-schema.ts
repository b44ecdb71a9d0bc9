/** The `tls` section, and what the broker receives of it. */
import { z } from 'zod';
import type { TlsFiles } from '../auth/certificates.ts';
import type { WatchTimes } from '../auth/watching.ts';
import { choice, duration, text } from './leaves.ts';

const DAY_MS = 24 * 3_600_000;
const FILE = /^.+$/;
const file = () => text('the path of a file', FILE);
const hostName = text(
  'a host name such as rt.example.com or *.example.com',
  /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/,
);

export const tlsSchema = z.strictObject({
  certFile: file(),
  keyFile: file(),
  caFile: file().optional(),
  minVersion: choice(['TLSv1.2', 'TLSv1.3']).prefault('TLSv1.2'),
  clientCert: choice(['off', 'request', 'require']).prefault('off'),
  sni: z
    .array(z.strictObject({ names: z.array(hostName).min(1), certFile: file(), keyFile: file() }))
    .prefault([]),
  debounceMs: duration(0, 60_000).prefault('200ms'),
  pollMs: duration(100, DAY_MS).prefault('30s'),
  warnMs: duration(0, 365 * DAY_MS).prefault('21d'),
});

export type TlsSettings = z.output<typeof tlsSchema>;

/** Paths are absolute. */
export interface TlsConfig extends TlsFiles, WatchTimes {
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly clientCert: 'off' | 'request' | 'require';
  /** How long before its end a certificate is warned of. */
  readonly warnMs: number;
}
