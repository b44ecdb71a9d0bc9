/** X.509 certificates for tests, made on the spot: no keys in the repository, and no openssl on the machine needed. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Authority extends Certificate {
  /** A certificate for localhost, 127.0.0.1 and this name, good from an hour ago for so long from now. */
  issue(name: string, hours?: number): Certificate;
}

export function authority(name: string): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issue = (subject: string, hours = 24): Certificate => {
    const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return pems(certificate(subject, own.publicKey, name, keys.privateKey, false, hours), own.privateKey);
  };
  return {
    ...pems(certificate(name, keys.publicKey, name, keys.privateKey, true, 24), keys.privateKey),
    issue,
  };
}

function certificate(
  subject: string,
  key: KeyObject,
  issuer: string,
  signer: KeyObject,
  ca: boolean,
  hours: number,
): Buffer {
  const algorithm = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
  const hour = 3_600_000;
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    algorithm,
    named(issuer),
    sequence(time(Date.now() - hour), time(Date.now() + hours * hour)),
    named(subject),
    key.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(ca ? authorityMark() : names(subject))),
  );
  const signature = sign('sha256', body, signer);
  return sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

function authorityMark(): Buffer {
  const isAuthority = sequence(tagged(0x01, Buffer.from([0xff])));
  return sequence(oid([0x55, 0x1d, 0x13]), tagged(0x01, Buffer.from([0xff])), tagged(0x04, isAuthority));
}

function names(subject: string): Buffer {
  const dns = (name: string) => tagged(0x82, Buffer.from(name));
  const all = sequence(dns('localhost'), dns(subject), tagged(0x87, Buffer.from([127, 0, 0, 1])));
  return sequence(oid([0x55, 0x1d, 0x11]), tagged(0x04, all));
}

function named(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid([0x55, 0x04, 0x03]), tagged(0x0c, Buffer.from(name)))));
}

function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');
  return tagged(0x17, Buffer.from(text.slice(2)));
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes);
}

function oid(bytes: readonly number[]): Buffer {
  return tagged(0x06, Buffer.from(bytes));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), content]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), content]);
}

function pems(der: Buffer, key: KeyObject): Certificate {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  const cert = `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  return { cert, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
}
