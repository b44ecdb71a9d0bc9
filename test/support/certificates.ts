/** Certificates in files, of an authority made for the test. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Authority, authority, type Certificate } from './certs.ts';

export interface CertificateFolder {
  readonly folder: string;
  readonly ca: Authority;
  /** Puts `NAME.crt` and `NAME.key` there, in the place of older ones, each by a rename. */
  write(name: string, certificate: Certificate): { readonly certFile: string; readonly keyFile: string };
}

/** A new folder, which goes with the test. */
export function certificateFolder(t: Pick<TestContext, 'after'>): CertificateFolder {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-tls-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const put = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
    return path;
  };
  return {
    folder,
    ca: authority('test authority'),
    write: (name, { cert, key }) => ({
      certFile: put(`${name}.crt`, cert),
      keyFile: put(`${name}.key`, key),
    }),
  };
}
