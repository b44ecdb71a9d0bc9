/** Subjects of what nodes tell one another, and of their stores. */
import { decodeToken, encodeToken } from '../subject.ts';

export class ClusterSubjects {
  readonly #prefix: string;
  /** Heartbeats. */
  readonly beat: string;
  /** Questions to all nodes. */
  readonly ask: string;
  /** The stream that keeps the stores. */
  readonly stream: string;
  /** What it captures; one subject for each entry. */
  readonly kept: string;
  /** What it republishes to, for the nodes. */
  readonly changes: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
    this.beat = `${prefix}.ctl.beat`;
    this.ask = `${prefix}.ctl.ask`;
    this.stream = `${prefix.toUpperCase()}_STATE`;
    this.kept = `${prefix}.state.>`;
    this.changes = `${prefix}.ctl.state.>`;
  }

  tell(topic: string): string {
    return `${this.#prefix}.ctl.tell.${encodeToken(topic)}`;
  }

  one(node: string): string {
    return `${this.#prefix}.ctl.one.${encodeToken(node)}`;
  }

  /**
   * Where answers go: below the prefix, so that nodes may write to one another without a permission for inboxes. By
   * incarnation: answers to a former run of this node mean nothing to it.
   */
  answers(incarnation: string): string {
    return `${this.#prefix}.ctl.re.${encodeToken(incarnation)}`;
  }

  entry(store: string, key: string): string {
    return `${this.#prefix}.state.${store}.${encodeToken(key)}`;
  }

  /** The store and key of a kept or republished subject; undefined: it is no entry. */
  named(subject: string): { readonly store: string; readonly key: string } | undefined {
    const tokens = subject.slice(this.#prefix.length + 1).split('.');
    const [store, key] = tokens[0] === 'ctl' ? tokens.slice(2) : tokens.slice(1);
    return store === undefined || key === undefined ? undefined : { store, key: decodeToken(key) };
  }
}
