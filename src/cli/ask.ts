/** One call of a broker's admin API. */
import { isTree } from '../config/tree.ts';

/** How long a broker may take to answer. */
const TIMEOUT_MS = 10_000;

export type Asked =
  | { readonly ok: true; readonly answer: Readonly<Record<string, unknown>> }
  | {
      readonly ok: false;
      readonly reason: string;
      /** Nothing answered at all. */
      readonly silent?: true;
      /** It cannot answer now. */
      readonly busy?: boolean;
    };

/**
 * @param question undefined: a GET, with what is asked in the path
 * @param field stands in every answer of this call
 */
export async function askAdmin(
  admin: string,
  path: string,
  question: object | undefined,
  token: string | undefined,
  field: string,
): Promise<Asked> {
  const response = await fetch(new URL(path, admin), {
    headers: {
      ...(question !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(question !== undefined && { method: 'POST', body: JSON.stringify(question) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => ({ failed: error instanceof Error ? (error.cause ?? error) : error }));
  if ('failed' in response)
    return { ok: false, reason: `${admin} does not answer: ${response.failed}`, silent: true };
  const answer: unknown = await response.json().catch(() => undefined);
  if (!isTree(answer)) return { ok: false, reason: `${admin} answered ${response.status}, and no JSON` };
  if (response.ok && field in answer) return { ok: true, answer };
  const reason = `${admin} answered ${response.status}: ${String(answer['reason'] ?? '')}`;
  return { ok: false, reason, busy: response.status === 503 };
}
