/** Whether tokens can be checked: keys, key sets behind URLs, the webhook. Asks them as a broker would. */
import { createVerifier, type Verifier } from '../../auth/verifier.ts';
import { IdentityCounts } from '../../broker/identity-counts.ts';
import type { Log } from '../../broker/ports.ts';
import type { AuthConfig, Config } from '../../config.ts';
import { clock } from '../time.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** What no service that knows its session tokens vouches for. */
const MADE_UP = 'carillon-doctor-asks-whether-anything-goes';

export async function identity(config: Config): Promise<Finding[]> {
  if (config.development)
    return [
      warn(
        'keys',
        'development mode: a new key at each start, whose token is printed',
        'set auth.keys, auth.jwksFile or auth.jwksUrl: docs/auth.md',
      ),
    ];
  const faults = new Map<string, string>();
  const counts = new IdentityCounts();
  const verifier = createVerifier(uncached(config.auth), { clock, counts, log: listening(faults) });
  try {
    await verifier.start();
    return [...keySets(verifier, counts, faults), ...(await webhook(config, verifier))];
  } finally {
    verifier.close();
  }
}

/** From the URL itself: a set that is kept in a file would hide that it is away, and nothing is to be written. */
function uncached({ jwks, ...auth }: AuthConfig): AuthConfig {
  const { cacheDir: _, ...rest } = jwks;
  return { ...auth, jwks: rest };
}

/** The reasons that the log would have, by the name of the key set. */
function listening(faults: Map<string, string>): Log {
  const quiet = (): void => undefined;
  const hear = (fields: object): void => {
    const { keySet, reason, outcome } = fields as Readonly<Record<string, unknown>>;
    if (typeof keySet === 'string') faults.set(keySet, String(reason ?? outcome));
  };
  return { debug: quiet, info: quiet, warn: hear, error: hear };
}

function keySets(
  verifier: Verifier,
  counts: IdentityCounts,
  faults: ReadonlyMap<string, string>,
): readonly Finding[] {
  const sets = [...counts.keySets].map(([name, { loadedAt, keys }]) => {
    if (loadedAt !== undefined && !faults.has(name)) return ok('key-set', `${name}: ${keys} keys`);
    const says = `${name}: ${faults.get(name) ?? 'not there'}`;
    return fail(
      'key-set',
      says,
      'see whether this machine reaches it (DNS, egress, proxy): until then its tokens get 503',
    );
  });
  const issuers = verifier.keys().map(({ issuer, keys }) => `${issuer}: ${keys.length}`);
  return [ok('keys', `keys by issuer: ${issuers.join(', ')}`), ...sets];
}

async function webhook({ auth }: Config, verifier: Verifier): Promise<readonly Finding[]> {
  if (auth.webhook === undefined) return [];
  const check = 'auth-webhook';
  const verdict = await verifier.verify(MADE_UP);
  if (verdict.ok)
    return [
      fail(check, 'it vouches for a token that was made up', 'it has to answer 401 to what it does not know'),
    ];
  if (verdict.code !== 'unavailable') return [ok(check, 'it answers, and refuses a token that was made up')];
  const fix = 'see auth.webhook.url and its log: until it answers, new session tokens get 503';
  return [fail(check, 'it cannot be asked, or answers something other than 200, 401 or 403', fix)];
}
