/** Users of a nats-server for tests: nkeys, and JWTs of an operator as `nsc` would make them. */
import { createHash } from 'node:crypto';
import { nkeys } from '@nats-io/nats-core';

type KeyPair = ReturnType<typeof nkeys.createUser>;

export interface NkeyUser {
  readonly seed: string;
  readonly publicKey: string;
}

export function nkeyUser(): NkeyUser {
  const pair = nkeys.createUser();
  return { seed: Buffer.from(pair.getSeed()).toString(), publicKey: pair.getPublicKey() };
}

export interface Operator {
  /** For the server's config. */
  readonly config: string;
  /** The text of a `.creds` file. */
  readonly creds: string;
}

/** An operator with one account that has JetStream, and one user of it. */
export function operator(): Operator {
  const [root, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createUser()];
  const system = nkeys.createAccount();
  const limits = { subs: -1, data: -1, payload: -1 };
  const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const counts = { imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const rootJwt = jwt(root, root, 'test operator', { type: 'operator', version: 2 });
  const accountClaims = { type: 'account', version: 2, limits: { ...limits, ...counts, ...storage } };
  const accountJwt = jwt(root, account, 'test account', accountClaims);
  const userJwt = jwt(account, user, 'test user', { type: 'user', version: 2, pub: {}, sub: {}, ...limits });
  const systemJwt = jwt(root, system, 'system', {
    type: 'account',
    version: 2,
    limits: { ...limits, ...counts },
  });
  const preload = `{ ${account.getPublicKey()}: "${accountJwt}", ${system.getPublicKey()}: "${systemJwt}" }`;
  const resolver = `resolver: MEMORY\nresolver_preload: ${preload}`;
  return {
    config: `operator: "${rootJwt}"\nsystem_account: ${system.getPublicKey()}\n${resolver}`,
    creds: [
      '-----BEGIN NATS USER JWT-----',
      userJwt,
      '------END NATS USER JWT------',
      '',
      '-----BEGIN USER NKEY SEED-----',
      Buffer.from(user.getSeed()).toString(),
      '------END USER NKEY SEED------',
      '',
    ].join('\n'),
  };
}

function jwt(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats,
  };
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('base64url');
  const text = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({ jti, ...claims })}`;
  return `${text}.${Buffer.from(issuer.sign(Buffer.from(text))).toString('base64url')}`;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
