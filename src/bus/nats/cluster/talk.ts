/** Tells, questions and answers over core NATS. */
import type { Msg, Subscription } from '@nats-io/nats-core';
import type { Answers, NodeAnswer, Told } from '../../../broker/cluster.ts';
import { checkTopic, jsonText, type Topics } from '../../cluster/topics.ts';
import type { NoAnswer, Requests } from '../acks.ts';
import type { Link } from '../connection.ts';
import type { Env } from '../env.ts';
import { guarded } from '../guard.ts';
import type { ClusterSubjects } from './names.ts';

export interface TalkParts {
  readonly env: Env;
  readonly link: Link;
  readonly requests: Requests;
  readonly subjects: ClusterSubjects;
  readonly topics: Topics;
  readonly node: string;
  readonly messageBytes: number;
  readonly others: () => readonly string[];
}

/** `[from, message]`: the topic stands in the subject. */
type ToldAll = readonly [string, unknown];
/** To one node, or a question: `[kind, from, topic, content]`. */
type Direct = readonly ['tell' | 'ask', string, string, unknown];
/** `[node]`: it has no answer. */
type Reply = readonly [string] | readonly [string, unknown];

export class Talk {
  readonly #parts: TalkParts;
  /** As it begins every message of this node. */
  readonly #from: string;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly tells = { sent: 0, too_large: 0, unavailable: 0, heard: 0, ignored: 0 };
  readonly asks = { whole: 0, partial: 0, answered: 0 };

  constructor(parts: TalkParts) {
    this.#parts = parts;
    this.#from = JSON.stringify(parts.node);
    const { subjects, topics, node } = parts;
    this.#subscribe(subjects.one(node), (msg) => this.#direct(msg));
    this.#subscribe(subjects.ask, (msg) => this.#direct(msg));
    for (const topic of topics.heard) this.follow(topic);
  }

  close(): void {
    for (const subscription of this.#subscriptions.values()) subscription.unsubscribe();
    this.#subscriptions.clear();
  }

  /** Somebody here hears the topic. */
  follow(topic: string): void {
    this.#subscribe(this.#parts.subjects.tell(topic), (msg) => {
      const [from, message] = msg.json<ToldAll>();
      this.#heard(topic, message, from);
    });
  }

  unfollow(topic: string): void {
    const subject = this.#parts.subjects.tell(topic);
    this.#subscriptions.get(subject)?.unsubscribe();
    this.#subscriptions.delete(subject);
  }

  tell(topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#tell(
      this.#parts.subjects.tell(topic),
      jsonText(message),
      (text) => `[${this.#from},${text}]`,
    );
  }

  tellNode(node: string, topic: string, message: unknown): Told {
    checkTopic(topic);
    return this.#tell(this.#parts.subjects.one(node), jsonText(message), (text) =>
      this.#written('tell', topic, text),
    );
  }

  async ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers> {
    const { topics, node, others, link } = this.#parts;
    const text = jsonText(question);
    const wanted = others();
    const answers = new Map<string, unknown>();
    if (this.#fits(text)) {
      const own = topics.answered(topic, text, node, timeoutMs);
      if (wanted.length > 0 && link.reachable()) await this.#gather(topic, text, wanted, timeoutMs, answers);
      const self = await own;
      if (self.ok) answers.set(node, self.answer);
    }
    const missing = [node, ...wanted].filter((one) => !answers.has(one));
    this.asks[missing.length === 0 ? 'whole' : 'partial']++;
    return { answers, missing };
  }

  async askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer> {
    const { topics, others, link, requests, subjects } = this.#parts;
    const text = jsonText(question);
    if (node !== this.#parts.node && !others().includes(node)) return { ok: false, why: 'unknown_node' };
    if (!this.#fits(text)) return { ok: false, why: 'too_large' };
    if (node === this.#parts.node) return topics.answered(topic, text, node, timeoutMs);
    if (!link.reachable()) return { ok: false, why: 'unavailable' };
    const content = this.#written('ask', topic, text);
    return single(await requests.answer(subjects.one(node), content, undefined, timeoutMs));
  }

  /** Until all of `wanted` have answered, or the time is over. Nodes that are not known yet may answer as well. */
  #gather(
    topic: string,
    question: string,
    wanted: readonly string[],
    timeoutMs: number,
    answers: Map<string, unknown>,
  ): Promise<void> {
    const { env, requests, subjects } = this.#parts;
    const waiting = new Set(wanted);
    return new Promise((resolve) => {
      let over = false;
      const end = () => {
        over = true;
        cancel();
        resolve();
      };
      const cancel = env.timers.after(timeoutMs, end);
      requests.collect(subjects.ask, this.#written('ask', topic, question), timeoutMs, (answer) => {
        if (over) return true;
        if (typeof answer !== 'string') {
          const [node, ...content] = answer.json<Reply>();
          if (content.length > 0) answers.set(node, content[0]);
          waiting.delete(node);
          if (waiting.size > 0) return false;
        }
        end();
        return true;
      });
    });
  }

  #written(kind: Direct[0], topic: string, text: string): string {
    return `["${kind}",${this.#from},${JSON.stringify(topic)},${text}]`;
  }

  #tell(subject: string, text: string, written: (text: string) => string): Told {
    const outcome = this.#outcome(text);
    if (outcome === 'sent') this.#send(subject, written(text));
    this.tells[outcome]++;
    return outcome;
  }

  #outcome(text: string): Told {
    if (!this.#fits(text)) return 'too_large';
    return this.#parts.link.reachable() ? 'sent' : 'unavailable';
  }

  #send(subject: string, text: string): void {
    const { link, env } = this.#parts;
    link.outlet.publish(subject, text, undefined, undefined, (error) =>
      env.log.warn({ err: error, subject }, 'a message to other nodes could not be sent'),
    );
  }

  #fits(text: string): boolean {
    return Buffer.byteLength(text) <= this.#parts.messageBytes;
  }

  #heard(topic: string, message: unknown, from: string): void {
    this.tells[this.#parts.topics.tell(topic, message, from) ? 'heard' : 'ignored']++;
  }

  #direct(msg: Msg): void {
    const [kind, from, topic, content] = msg.json<Direct>();
    const { reply } = msg;
    if (kind === 'tell') this.#heard(topic, content, from);
    else if (kind === 'ask' && reply !== undefined) void this.#reply(reply, topic, content, from);
    // Of a node that is newer than this one.
    else this.tells.ignored++;
  }

  async #reply(to: string, topic: string, question: unknown, from: string): Promise<void> {
    const { topics, env } = this.#parts;
    let text = await topics.reply(topic, question, from);
    if (text !== undefined && !this.#fits(text)) {
      env.log.error({ topic, from, bytes: text.length }, 'an answer is over cluster.messageBytes');
      text = undefined;
    }
    if (text !== undefined) this.asks.answered++;
    this.#send(to, text === undefined ? `[${this.#from}]` : `[${this.#from},${text}]`);
  }

  #subscribe(subject: string, received: (msg: Msg) => void): void {
    const callback = guarded<[unknown, Msg]>(
      this.#parts.env.log,
      'a message of another node',
      (error, msg) => {
        if (error === null) received(msg);
      },
    );
    this.#subscriptions.set(subject, this.#parts.link.connection.subscribe(subject, { callback }));
  }
}

function single(answer: Msg | NoAnswer): NodeAnswer {
  if (answer === 'lost') return { ok: false, why: 'unavailable' };
  if (typeof answer === 'string') return { ok: false, why: 'unanswered' };
  const [, ...content] = answer.json<Reply>();
  return content.length > 0 ? { ok: true, answer: content[0] } : { ok: false, why: 'unanswered' };
}
