/** What the client shows of itself at the next attempt: the newest ticket, and a token after an attempt that failed. */
import type { TokenSource } from './options.ts';

interface Ticket {
  readonly text: string;
  /** By `performance.now()`: the server's clock is not ours, but the time since the receipt is. */
  readonly endsAt: number;
}

export class Credentials {
  readonly #source: TokenSource;
  #ticket: Ticket | undefined;
  /** The last attempt showed the ticket. */
  #tried = false;
  #ttlMs = 0;
  #endsAt: number | undefined;

  /** `ticket`: from an earlier life; whether it has ended is for the server to say. */
  constructor(source: TokenSource, ticket?: string) {
    this.#source = source;
    if (ticket !== undefined) this.#ticket = { text: ticket, endsAt: Number.POSITIVE_INFINITY };
  }

  /** Whether a new token can be had: the source is a function. */
  get renewable(): boolean {
    return typeof this.#source === 'function';
  }

  /** By `performance.now()`: the `exp` of the last token that was shown, if it is a JWT and has one. */
  get endsAt(): number | undefined {
    return this.#endsAt;
  }

  /** The newest one that has not ended. */
  get ticket(): string | undefined {
    const ticket = this.#ticket;
    return ticket !== undefined && performance.now() < ticket.endsAt ? ticket.text : undefined;
  }

  /** The subprotocol entry of an attempt. Rejects with what the token provider throws. */
  async next(): Promise<string> {
    const { ticket } = this;
    // After an attempt that fails it is not known whether the server has seen the ticket, and a browser does not say
    // what was wrong. So in turn: a used ticket costs one attempt, and an outage of many does not cost the session.
    this.#tried = ticket !== undefined && !this.#tried;
    if (this.#tried) return `ticket.${ticket}`;
    const token = await this.#ask();
    this.shown(token);
    return `bearer.${token}`;
  }

  /** A token for a `refresh`. The ticket stands for the old token, and is void from here on. */
  async fresh(): Promise<string> {
    const token = await this.#ask();
    this.#ticket = undefined;
    return token;
  }

  /** The server has this token now, or gets it with the attempt. */
  shown(token: string): void {
    const leftMs = lifeMs(token, Date.now());
    this.#endsAt = leftMs === undefined ? undefined : performance.now() + leftMs;
  }

  /** The only ticket from now on. `drain` brings one without its life, which is that of the others. */
  keep(text: string, ttlSeconds?: number): void {
    if (ttlSeconds !== undefined) this.#ttlMs = ttlSeconds * 1000;
    this.#ticket = { text, endsAt: performance.now() + this.#ttlMs };
    this.#tried = false;
  }

  dropTicket(): void {
    this.#ticket = undefined;
  }

  async #ask(): Promise<string> {
    return typeof this.#source === 'string' ? this.#source : this.#source();
  }
}

/**
 * Milliseconds that a JWT has left at `now`, in milliseconds since 1970; undefined if it does not say. Nothing is
 * verified. Of two answers the shorter: a clock that is slow must not make the refresh late. A token that is over
 * already is either refused or proves that our clock is fast, and then its `iat` is all we have.
 */
export function lifeMs(token: string, now: number): number | undefined {
  const { exp, iat } = claimsOf(token);
  if (typeof exp !== 'number') return undefined;
  const leftMs = exp * 1000 - now;
  if (typeof iat !== 'number') return leftMs > 0 ? leftMs : undefined;
  const wholeMs = (exp - iat) * 1000;
  return leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
}

function claimsOf(token: string): { readonly exp?: unknown; readonly iat?: unknown } {
  const [, payload = ''] = token.split('.');
  try {
    // Text beyond ASCII comes out garbled, which harms no number.
    return JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/'))) ?? {};
  } catch {
    // Not a JWT: what a token looks like is between its issuer and the server.
    return {};
  }
}
