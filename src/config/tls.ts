/** The `tls` section with its files proved usable: a start cannot fail later for one. */
import { resolve } from 'node:path';
import { readCertificates } from '../auth/certificates.ts';
import type { Fault } from './keys.ts';
import type { TlsConfig, TlsSettings } from './tls-schema.ts';

/** @param base the folder of the config file, from which paths are taken. */
export function readTls(
  settings: TlsSettings | undefined,
  base: string,
): { readonly tls?: TlsConfig; readonly faults: readonly Fault[] } {
  if (settings === undefined) return { faults: [] };
  const { caFile, sni, ...rest } = settings;
  const tls = {
    ...rest,
    ...located(settings, base),
    sni: sni.map((entry) => ({ ...entry, ...located(entry, base) })),
    ...(caFile !== undefined && { caFile: resolve(base, caFile) }),
  };
  const faults = [...checkClients(settings), ...checkNames(settings)];
  const read = readCertificates(tls, Date.now());
  if (!read.ok) {
    const { path, value, reason, fix } = read;
    faults.push({
      path: ['tls', ...path],
      value,
      expected: `files that TLS can be served with: ${reason}`,
      fix,
    });
  }
  return { tls, faults };
}

function located<T extends { readonly certFile: string; readonly keyFile: string }>(entry: T, base: string) {
  return { certFile: resolve(base, entry.certFile), keyFile: resolve(base, entry.keyFile) };
}

function checkClients({ clientCert, caFile }: TlsSettings): Fault[] {
  if ((clientCert === 'off') === (caFile === undefined)) return [];
  if (caFile === undefined) {
    const expected = 'tls.caFile beside it: who signs good client certificates';
    return [{ path: ['tls', 'clientCert'], value: clientCert, expected, fix: 'set tls.caFile' }];
  }
  const expected = 'nothing, as long as tls.clientCert is off';
  return [{ path: ['tls', 'caFile'], value: caFile, expected, fix: 'set tls.clientCert: require' }];
}

function checkNames({ sni }: TlsSettings): Fault[] {
  const all = sni.flatMap(({ names }) => names);
  const twice = all.find((name, at) => all.indexOf(name) < at);
  if (twice === undefined) return [];
  return [{ path: ['tls', 'sni'], value: twice, expected: 'each name once: it has one certificate' }];
}
