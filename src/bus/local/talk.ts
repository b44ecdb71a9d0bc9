/** Tells, questions and answers by way of the hub. */
import type { Answers, NodeAnswer, Told } from '../../broker/cluster.ts';
import type { Log } from '../../broker/ports.ts';
import { jsonText, type Topics } from '../cluster/topics.ts';
import type { HubLine } from './line.ts';

export interface LocalTalkParts {
  readonly line: HubLine;
  readonly topics: Topics;
  readonly node: string;
  readonly messageBytes: number;
  readonly others: () => readonly string[];
  readonly log: Log;
}

/** A question on its way. */
interface Asked {
  readonly waiting: Set<string>;
  readonly answers: Map<string, unknown>;
  readonly end: () => void;
}

export class LocalTalk {
  readonly #parts: LocalTalkParts;
  readonly #asked = new Map<number, Asked>();
  #questions = 0;
  readonly tells = { sent: 0, too_large: 0, unavailable: 0, heard: 0, ignored: 0 };
  readonly asks = { whole: 0, partial: 0, answered: 0 };

  constructor(parts: LocalTalkParts) {
    this.#parts = parts;
    const { line, topics } = parts;
    line.on({
      told: (from, topic, text) => {
        if (topics.hears(topic) && topics.tell(topic, JSON.parse(text), from)) this.tells.heard++;
      },
      question: (asker, id, from, topic, text) => void this.#reply(asker, id, from, topic, text),
      answer: (id, node, text) => this.#answered(id, node, text),
    });
    line.whenLost(() => this.#lost());
  }

  /** To all others, or to one. */
  tell(topic: string, message: unknown, to: string | null): Told {
    const text = jsonText(message);
    const outcome = this.#outcome(text);
    if (outcome === 'sent') this.#parts.line.send('tell', topic, text, to);
    this.tells[outcome]++;
    return outcome;
  }

  async ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers> {
    const { topics, node, others, line } = this.#parts;
    const text = jsonText(question);
    const wanted = others();
    const answers = new Map<string, unknown>();
    if (this.#fits(text)) {
      const own = topics.answered(topic, text, node, timeoutMs);
      if (wanted.length > 0 && line.up) await this.#gather(topic, text, null, wanted, timeoutMs, answers);
      const self = await own;
      if (self.ok) answers.set(node, self.answer);
    }
    const missing = [node, ...wanted].filter((one) => !answers.has(one));
    this.asks[missing.length === 0 ? 'whole' : 'partial']++;
    return { answers, missing };
  }

  async askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer> {
    const { topics, others, line } = this.#parts;
    const text = jsonText(question);
    if (node !== this.#parts.node && !others().includes(node)) return { ok: false, why: 'unknown_node' };
    if (!this.#fits(text)) return { ok: false, why: 'too_large' };
    if (node === this.#parts.node) return topics.answered(topic, text, node, timeoutMs);
    if (!line.up) return { ok: false, why: 'unavailable' };
    const answers = new Map<string, unknown>();
    await this.#gather(topic, text, node, [node], timeoutMs, answers);
    if (answers.has(node)) return { ok: true, answer: answers.get(node) };
    return { ok: false, why: line.up ? 'unanswered' : 'unavailable' };
  }

  /** The node will not answer any more. */
  gone(node: string): void {
    for (const asked of [...this.#asked.values()]) settle(asked, node);
  }

  /** Until all of `wanted` have answered, or the time is over. Nodes that are not known yet may answer as well. */
  #gather(
    topic: string,
    text: string,
    to: string | null,
    wanted: readonly string[],
    timeoutMs: number,
    answers: Map<string, unknown>,
  ): Promise<void> {
    const id = ++this.#questions;
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(late);
        this.#asked.delete(id);
        resolve();
      };
      const late = setTimeout(end, timeoutMs);
      this.#asked.set(id, { waiting: new Set(wanted), answers, end });
      this.#parts.line.send('question', id, topic, text, to);
    });
  }

  #answered(id: number, node: string, text: string | null): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    if (text !== null) asked.answers.set(node, JSON.parse(text));
    settle(asked, node);
  }

  async #reply(asker: number, id: number, from: string, topic: string, question: string): Promise<void> {
    const { topics, line, log } = this.#parts;
    let text = await topics.reply(topic, JSON.parse(question), from);
    if (text !== undefined && !this.#fits(text)) {
      log.error({ topic, from, bytes: text.length }, 'an answer is over cluster.messageBytes');
      text = undefined;
    }
    if (text !== undefined) this.asks.answered++;
    line.send('answer', asker, id, text ?? null);
  }

  #lost(): void {
    for (const { end } of [...this.#asked.values()]) end();
  }

  #outcome(text: string): Told {
    if (!this.#fits(text)) return 'too_large';
    return this.#parts.line.up && !this.#parts.line.full ? 'sent' : 'unavailable';
  }

  #fits(text: string): boolean {
    return Buffer.byteLength(text) <= this.#parts.messageBytes;
  }
}

function settle({ waiting, end }: Asked, node: string): void {
  if (waiting.delete(node) && waiting.size === 0) end();
}
