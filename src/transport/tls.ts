import type { HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { SSLApp } from './uws.ts';

/** PEM files by absolute paths, proved usable by the caller. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** Who signs client certificates. */
  readonly caFile?: string;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly clientCert: 'off' | 'request' | 'require';
  readonly sni: readonly {
    readonly names: readonly string[];
    readonly certFile: string;
    readonly keyFile: string;
  }[];
}

/** Forward secrecy and authenticated encryption only (RFC 9325, 4.2.1). TLS 1.3 has a list of its own, all good. */
const CIPHERS_1_2 = ['ECDSA', 'RSA'].flatMap((key) =>
  ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'].map((cipher) => `ECDHE-${key}-${cipher}`),
);

/**
 * uWebSockets.js cannot be told a lowest version: it always takes 1.2. What takes 1.2 away is a list of ciphers that
 * cannot be agreed on: this one needs a shared key, and there is none.
 */
const NO_CIPHER_OF_1_2 = 'ECDHE-PSK-CHACHA20-POLY1305';

/**
 * @param route gives an App its routes: called once for the default certificate and once for each name, since
 *   uWebSockets.js gives each name routes of its own. Topics are common to all of them.
 * @throws when the files cannot be used
 */
export function secureApp(tls: TlsFiles, route: (app: TemplatedApp) => void): TemplatedApp {
  const common = {
    ssl_ciphers: tls.minVersion === 'TLSv1.3' ? NO_CIPHER_OF_1_2 : CIPHERS_1_2.join(':'),
    ...(tls.caFile !== undefined && tls.clientCert !== 'off' && { ca_file_name: tls.caFile }),
  };
  const app = construct(tls, common);
  route(app);
  for (const { names, certFile, keyFile } of tls.sni) {
    for (const name of names) {
      app.addServerName(name, { ...common, cert_file_name: certFile, key_file_name: keyFile });
      // Chooses whose routes come next.
      app.domain(name);
      route(app);
    }
  }
  return app;
}

function construct({ certFile, keyFile }: TlsFiles, common: object): TemplatedApp {
  try {
    return SSLApp({ ...common, cert_file_name: certFile, key_file_name: keyFile });
  } catch (error) {
    throw new Error(`TLS cannot be served with ${certFile} and ${keyFile}`, { cause: error });
  }
}

export const NO_CERTIFICATE = 'a client certificate is required here (tls.clientCert)';

/** The published types lack it. PEM; '' for none. */
type Certified = HttpResponse & { getX509Certificate(): string };

/** Whether the client of a TLS connection has shown one; BoringSSL has verified it then, but lets those without in. */
export function hasCertificate(response: HttpResponse): boolean {
  return (response as Certified).getX509Certificate() !== '';
}
