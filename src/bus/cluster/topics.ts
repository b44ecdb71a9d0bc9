/** What this node hears and answers, by topic; the same with others around and without. */
import type { Cancel, NodeAnswer } from '../../broker/cluster.ts';
import type { Log } from '../../broker/ports.ts';
import { Listeners } from './listeners.ts';

/** Encoded as a token of a subject, it stays far below what NATS takes. */
const TOPIC_CHARS = 256;

type Reply = (question: unknown, from: string) => unknown;
/** An answer as JSON text; undefined: there is none. */
export type ReplyText = string | undefined;

export class Topics {
  readonly #log: Log;
  readonly #heard = new Map<string, Listeners<[unknown, string]>>();
  readonly #replies = new Map<string, Reply>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** `idle` runs when nobody hears the topic any more, `first` when nobody did before. */
  hear(
    topic: string,
    heard: (message: unknown, from: string) => void,
    first: () => void = () => undefined,
    idle: () => void = () => undefined,
  ): Cancel {
    checkTopic(topic);
    let listeners = this.#heard.get(topic);
    if (listeners === undefined) {
      listeners = new Listeners(`the listener of ${topic}`, this.#log);
      this.#heard.set(topic, listeners);
      first();
    }
    const remove = listeners.add(heard);
    return () => {
      remove();
      if (listeners.size > 0 || this.#heard.get(topic) !== listeners) return;
      this.#heard.delete(topic);
      idle();
    };
  }

  get heard(): Iterable<string> {
    return this.#heard.keys();
  }

  hears(topic: string): boolean {
    return this.#heard.has(topic);
  }

  /** false: nobody hears it here. */
  tell(topic: string, message: unknown, from: string): boolean {
    const listeners = this.#heard.get(topic);
    listeners?.tell(message, from);
    return listeners !== undefined;
  }

  answer(topic: string, reply: Reply): Cancel {
    checkTopic(topic);
    if (this.#replies.has(topic)) throw new Error(`the topic ${topic} has an answer already`);
    this.#replies.set(topic, reply);
    return () => {
      if (this.#replies.get(topic) === reply) this.#replies.delete(topic);
    };
  }

  /** This node's own answer, as any other's would come: a copy of a copy, or late. */
  async answered(topic: string, question: string, node: string, timeoutMs: number): Promise<NodeAnswer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<ReplyText>((resolve) => {
      timer = setTimeout(() => resolve(undefined), timeoutMs);
    });
    const text = await Promise.race([this.reply(topic, JSON.parse(question), node), late]);
    clearTimeout(timer);
    return text === undefined
      ? { ok: false, why: 'unanswered' }
      : { ok: true, answer: JSON.parse(text) as unknown };
  }

  /** Never rejects. */
  async reply(topic: string, question: unknown, from: string): Promise<ReplyText> {
    const reply = this.#replies.get(topic);
    if (reply === undefined) return undefined;
    try {
      return JSON.stringify((await reply(question, from)) ?? null);
    } catch (error) {
      this.#log.error({ err: error, topic, from }, 'a question of another node could not be answered');
      return undefined;
    }
  }
}

/** A broken invariant: topics are written by us, not by clients. */
export function checkTopic(topic: string): void {
  if (topic.length === 0 || topic.length > TOPIC_CHARS)
    throw new Error(`a topic has 1 to ${TOPIC_CHARS} characters, this one ${topic.length}: ${topic}`);
}

/** What stands for `undefined` in JSON is null. Throws for what JSON cannot carry. */
export function jsonText(message: unknown): string {
  return JSON.stringify(message ?? null);
}
