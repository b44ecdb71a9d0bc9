/** TLS certificates in files: whether they can be used, before anything is served with them. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** What a server needs for TLS, by the paths of the files. */
export interface TlsFiles extends CertificateFiles {
  /** Who signs client certificates. */
  readonly caFile?: string;
  /** Other certificates for the host names that clients ask for. */
  readonly sni: readonly (CertificateFiles & { readonly names: readonly string[] })[];
}

export interface GoodFiles {
  readonly ok: true;
  /** Another one as soon as a file has other content. */
  readonly digest: string;
  /** When each certificate ends, in milliseconds since 1970: `default`, and the first name of each entry of `sni`. */
  readonly endsAtMs: ReadonlyMap<string, number>;
}

export interface BadFile {
  readonly ok: false;
  /** The setting, below `tls`. */
  readonly path: readonly (string | number)[];
  readonly value: string;
  readonly reason: string;
  readonly fix: string;
}

/** Reads all of the files and proves them usable. @param nowMs milliseconds since 1970 */
export function readCertificates(files: TlsFiles, nowMs: number): GoodFiles | BadFile {
  const texts: string[] = [];
  const endsAtMs = new Map<string, number>();
  const all = [
    { ...files, names: [], path: [] },
    ...files.sni.map((entry, at) => ({ ...entry, path: ['sni', at] })),
  ];
  for (const { certFile, keyFile, names, path } of all) {
    const cert = textOf(certFile);
    if (typeof cert !== 'string') return unreadable([...path, 'certFile'], certFile, cert);
    const key = textOf(keyFile);
    if (typeof key !== 'string') return unreadable([...path, 'keyFile'], keyFile, key);
    const verdict = judgeCertificate({ cert, key, names }, nowMs);
    if (!verdict.ok) {
      const { part, reason, fix } = verdict;
      const value = { certFile, keyFile, names: names.join(', ') }[part];
      return { ok: false, path: [...path, part], value, reason, fix };
    }
    texts.push(cert, key);
    endsAtMs.set(names[0] ?? 'default', verdict.endsAtMs);
  }
  const ca = readAuthorities(files.caFile);
  return typeof ca === 'string' ? { ok: true, digest: digestOf([...texts, ca]), endsAtMs } : ca;
}

function readAuthorities(caFile: string | undefined): string | BadFile {
  if (caFile === undefined) return '';
  const text = textOf(caFile);
  if (typeof text !== 'string') return unreadable(['caFile'], caFile, text);
  const reason = judgeAuthorities(text);
  if (reason === undefined) return text;
  const fix = 'give the certificates of the authorities that sign client certificates';
  return { ok: false, path: ['caFile'], value: caFile, reason, fix };
}

function textOf(path: string): string | { readonly code: string } {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return { code: error instanceof Error && 'code' in error ? String(error.code) : 'unreadable' };
  }
}

function unreadable(path: readonly (string | number)[], value: string, { code }: { code: string }): BadFile {
  const fix = 'paths are taken from the folder of the config file';
  return { ok: false, path, value, reason: `it cannot be read (${code})`, fix };
}

interface CertificateTexts {
  /** PEM: the certificate of the server first, then those up to the root, which may be left out. */
  readonly cert: string;
  /** PEM, not encrypted. */
  readonly key: string;
  /** Host names that the certificate has to be for; `*.example.com` is one. */
  readonly names: readonly string[];
}

interface GoodCertificate {
  readonly ok: true;
  readonly endsAtMs: number;
}

interface BadCertificate {
  readonly ok: false;
  /** Which of the files is to blame. */
  readonly part: 'certFile' | 'keyFile' | 'names';
  readonly reason: string;
  readonly fix: string;
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** Ed25519 is no good: BoringSSL offers it to no client unless told to, and browsers do not know it. */
const KEY_TYPES: readonly (string | undefined)[] = ['rsa', 'ec'];

function judgeCertificate(texts: CertificateTexts, nowMs: number): GoodCertificate | BadCertificate {
  const [certificate] = certificatesIn(texts.cert) ?? [];
  if (certificate === undefined)
    return bad(
      'certFile',
      'it holds no certificate in PEM',
      'the text begins with -----BEGIN CERTIFICATE-----',
    );
  const keyed = judgeKey(certificate, texts.key);
  if (keyed !== undefined) return keyed;
  const endsAtMs = Date.parse(certificate.validTo);
  if (endsAtMs <= nowMs)
    return bad('certFile', `the certificate has ended on ${certificate.validTo}`, 'renew it');
  if (Date.parse(certificate.validFrom) > nowMs)
    return bad('certFile', `the certificate begins on ${certificate.validFrom}`, "set this machine's clock");
  // A wildcard is covered by one of its own: any host under it stands for all.
  const missing = texts.names.find((name) => certificate.checkHost(name.replace(/^\*/, 'a')) === undefined);
  if (missing !== undefined) {
    const held = certificate.subjectAltName ?? 'no name';
    return bad(
      'names',
      `the certificate is for ${held}, not for ${missing}`,
      'give each name to its certificate',
    );
  }
  return { ok: true, endsAtMs };
}

function judgeKey(certificate: X509Certificate, text: string): BadCertificate | undefined {
  const key = privateKey(text);
  if (key === undefined)
    return bad(
      'keyFile',
      'it holds no private key in PEM without a passphrase',
      'openssl pkey -in OLD -out NEW',
    );
  if (!KEY_TYPES.includes(key.asymmetricKeyType))
    return bad(
      'keyFile',
      `keys of type ${key.asymmetricKeyType} are not taken`,
      'use an EC (P-256) or RSA key',
    );
  if (certificate.checkPrivateKey(key)) return undefined;
  return bad(
    'keyFile',
    "it is not the certificate's key",
    "the first certificate of certFile has to be the server's own",
  );
}

/** Why the text cannot say whose client certificates are good; undefined: it can. */
function judgeAuthorities(text: string): string | undefined {
  const found = certificatesIn(text);
  if (found === undefined || found.length === 0) return 'it holds no certificate in PEM';
  return found.every((each) => each.ca) ? undefined : 'a certificate in it is none of an authority';
}

/** undefined: one of them is broken. */
function certificatesIn(text: string): readonly X509Certificate[] | undefined {
  try {
    return (text.match(BLOCK) ?? []).map((block) => new X509Certificate(block));
  } catch {
    return undefined;
  }
}

function privateKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text);
  } catch {
    return undefined;
  }
}

/** Changes when one of the texts does. Not kept as they are: keys would stay in memory. */
function digestOf(texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('base64');
}

function bad(part: BadCertificate['part'], reason: string, fix: string): BadCertificate {
  return { ok: false, part, reason, fix };
}
