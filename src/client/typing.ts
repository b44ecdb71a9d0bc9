/** Who is typing in a room: ephemeral signals with one key, which the server thins out and both sides forget. */
import type { EventFrame } from '../protocol/frames.ts';
import { Emitter } from './emitter.ts';

/** The `key` of the signals; their payload is `{typing: true}` or `{typing: false}`. */
export const TYPING_KEY = 'carillon.typing';

export interface TypingParts {
  /** Sends a signal, if the room is joined. */
  publish(payload: { readonly typing: boolean }): void;
  joined(): boolean;
  /** Milliseconds that a signal holds where the event does not say. */
  expireMs(): number;
  /** The user that the server knows this client as. */
  user(): string | undefined;
}

export interface TypingEvents {
  /** Who is typing now. */
  change: readonly string[];
}

export class Typing {
  readonly #parts: TypingParts;
  readonly #events = new Emitter<TypingEvents>();
  /** By user, until when, by `performance.now()`; in the order in which they began. */
  readonly #until = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the others were last told that we are; undefined: we are not. */
  #toldAt: number | undefined;

  /** Made with its room. */
  constructor(parts: TypingParts) {
    this.#parts = parts;
  }

  /** The others who are typing, those who began first in front. */
  get users(): readonly string[] {
    return [...this.#until.keys()];
  }

  /**
   * To be called at every key: sends at once, and then no more often than the signal has to be renewed. Without another
   * call it is over by itself when the signal expires. Does nothing while the room is not joined.
   */
  start(): void {
    const now = performance.now();
    const told = this.#toldAt !== undefined && now - this.#toldAt < this.#parts.expireMs() / 2;
    if (told || !this.#parts.joined()) return;
    this.#toldAt = now;
    this.#parts.publish({ typing: true });
  }

  /** When the message is sent, before it, or given up. */
  stop(): void {
    const toldAt = this.#toldAt;
    this.#toldAt = undefined;
    if (toldAt === undefined || !this.#parts.joined()) return;
    if (performance.now() - toldAt < this.#parts.expireMs()) this.#parts.publish({ typing: false });
  }

  /** Returns what takes the listener off again. */
  on<Name extends keyof TypingEvents>(name: Name, listener: (value: TypingEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** An event of the room. true: it is a signal of typing, and nothing else. */
  heard({ from, key, ephemeral, payload, expireMs = this.#parts.expireMs() }: EventFrame): boolean {
    if (key !== TYPING_KEY || ephemeral !== true) {
      // Whoever has written is not typing any more, whatever became of the signal that says so.
      if (ephemeral !== true) this.#wrote(from);
      return false;
    }
    const { typing } = (payload ?? {}) as { readonly typing?: unknown };
    if (typing !== true) this.gone(from);
    else if (from !== this.#parts.user()) this.#began(from, performance.now() + expireMs);
    return true;
  }

  #wrote(user: string): void {
    // The others take us for silent now: the next key has to be told at once.
    if (user === this.#parts.user()) this.#toldAt = undefined;
    this.gone(user);
  }

  gone(user: string): void {
    if (this.#until.delete(user)) this.#changed();
  }

  /** The room is left for good. */
  ended(): void {
    this.#toldAt = undefined;
    const any = this.#until.size > 0;
    this.#until.clear();
    if (any) this.#changed();
  }

  #began(user: string, until: number): void {
    const news = !this.#until.has(user);
    this.#until.set(user, until);
    if (news) this.#changed();
    else this.#look();
  }

  #changed(): void {
    this.#look();
    this.#events.emit('change', this.users);
  }

  /** One timer, for the first that expires. */
  #look(): void {
    clearTimeout(this.#timer);
    if (this.#until.size === 0) return;
    const next = Math.min(...this.#until.values());
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, next - performance.now()));
  }

  #expire(): void {
    const now = performance.now();
    const over = [...this.#until].filter(([, until]) => until <= now);
    for (const [user] of over) this.#until.delete(user);
    if (over.length > 0) this.#changed();
    else this.#look();
  }
}
