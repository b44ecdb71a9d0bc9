/** The one rule on how long tokens live: for the gate, for tokens made by the command line, and for explanations. */
import type { TokenLife } from '../broker/exclusion/token-life.ts';
import type { Config } from './types.ts';

export const TOKEN_LIFE_DEFAULT = '30d';

export function lifeOf({ auth, revocation }: Pick<Config, 'auth' | 'revocation'>): TokenLife {
  return { tokenLifeMs: revocation.tokenLifeMs, clockToleranceSeconds: auth.clockToleranceSeconds };
}
