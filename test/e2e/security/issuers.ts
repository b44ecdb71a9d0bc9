/** A broker with issuers of different rights, and tokens of each. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type JWTPayload, SignJWT } from 'jose';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { ADMIN } from '../exclusion/visitor.ts';

/** main: stands first, and may grant every scope. b: both, in its tenants only. c: none. All use one kid. */
export const ISSUERS = ['main', 'b', 'c'] as const;
export type Issuer = (typeof ISSUERS)[number];

const KID = 'k1';
const secretOf = (issuer: string) => `the secret of issuer ${issuer}, 32 bytes or more`;
export const keyOf = (issuer: Issuer) => new TextEncoder().encode(secretOf(issuer));
export const issuerName = (issuer: Issuer) => `https://${issuer}.example`;

export const now = () => Math.floor(Date.now() / 1000);
export const LIFE = 86_400;

/** Good for an hour, with every scope; claims add to that, undefined takes away. */
export function tokenOf(
  issuer: Issuer,
  claims: Readonly<Record<string, unknown>> = {},
  key = keyOf(issuer),
): Promise<string> {
  const rooms = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }];
  const common = { iss: issuerName(issuer), aud: 'carillon', iat: now(), exp: now() + 3600 };
  const payload = { sub: 'ann', scope: 'api admin', rooms, ...common, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(payload)) as JWTPayload)
    .setProtectedHeader({ alg: 'HS256', kid: KID })
    .sign(key);
}

/** Vouches for opaque tokens: `opaque-` and claims in base64url. */
export async function startWebhook(): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (piece) => {
      text += piece;
    });
    request.on('end', () => {
      const { token } = JSON.parse(text) as { token: string };
      const claims = JSON.parse(Buffer.from(token.slice('opaque-'.length), 'base64url').toString());
      response.end(JSON.stringify({ claims }));
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, server };
}

export function opaque(claims: object): string {
  const whole = { sub: 'ann', exp: now() + 3600, ...claims };
  return `opaque-${Buffer.from(JSON.stringify(whole)).toString('base64url')}`;
}

export function startWithIssuers(webhook: string, auth: object = {}): Promise<RunningBroker> {
  const keys = (issuer: string) => [{ kid: KID, alg: 'HS256', secret: secretOf(issuer) }];
  const entry = (issuer: Issuer) => ({
    issuer: issuerName(issuer),
    audience: 'carillon',
    keys: keys(issuer),
  });
  return startBroker({
    env: { CARILLON_JWT_SECRET: '', CARILLON_ADMIN_TOKEN: ADMIN },
    config: {
      auth: {
        ...entry('main'),
        allowQueryToken: true,
        issuers: [{ ...entry('b'), tenants: ['b'], scopes: ['api', 'admin'] }, entry('c')],
        webhook: { url: webhook },
        ...auth,
      },
      revocation: { tokenLifeMs: `${LIFE}s` },
      api: { failuresPerMinute: 100_000 },
      trustedProxies: 1,
    },
  });
}
