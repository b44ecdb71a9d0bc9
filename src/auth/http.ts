/** HTTP requests of the broker's own: one deadline over all of it, a bound on the answer, no redirects. */
import type { HttpFault } from '../broker/identity-counts.ts';

export interface HttpBounds {
  /** From the first byte asked to the last one received. */
  readonly timeoutMs: number;
  /** Of the body, after decompression. */
  readonly bytes: number;
}

export type HttpAnswer =
  | { readonly ok: true; readonly status: number; readonly text: string }
  | { readonly ok: false; readonly fault: HttpFault };

/** Node's fetch keeps its connections and reuses them. Never rejects for what the other side does. */
export async function request(
  url: string,
  init: Omit<RequestInit, 'signal' | 'redirect'>,
  bounds: HttpBounds,
): Promise<HttpAnswer> {
  try {
    // A redirect would hand the request, and the trust in the answer, to whoever the server names.
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      signal: AbortSignal.timeout(bounds.timeoutMs),
    });
    if (response.status >= 300 && response.status < 400) return await dropped(response, 'redirect');
    const text = await bodyOf(response, bounds.bytes);
    return text === undefined
      ? { ok: false, fault: 'oversized' }
      : { ok: true, status: response.status, text };
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError')
      return { ok: false, fault: 'timeout' };
    // What fetch rejects with for a network or protocol error; its cause has the detail.
    if (error instanceof TypeError) return { ok: false, fault: 'unreachable' };
    throw error;
  }
}

async function dropped(response: Response, fault: HttpFault): Promise<HttpAnswer> {
  await response.body?.cancel();
  return { ok: false, fault };
}

/** undefined: more than `bytes`. A length that the server claims is not believed. */
async function bodyOf({ body }: Response, bytes: number): Promise<string | undefined> {
  if (body === null) return '';
  const chunks: Uint8Array[] = [];
  let total = 0;
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return Buffer.concat(chunks).toString('utf8');
    total += value.byteLength;
    if (total > bytes) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
}
