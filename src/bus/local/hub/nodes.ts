/** Who is there, and what they tell and ask one another: the hub passes it on and knows nothing of it. */
import type { NodeInfo, NodeStatus } from '../../../broker/cluster.ts';
import { packed } from '../link.ts';
import type { FromHub } from '../wire.ts';
import type { Worker } from './worker.ts';

export class HubNodes {
  readonly #joined = new Map<string, Worker>();

  get all(): NodeInfo[] {
    return [...this.#joined.values()].flatMap(({ info }) => info ?? []);
  }

  join(worker: Worker, info: NodeInfo): void {
    const before = this.#joined.get(info.node);
    // Its last run, whose link has not been seen to end yet.
    if (before !== undefined) this.leave(before);
    worker.info = info;
    this.#tellOthers(worker, 'node', info, 'up');
    this.#joined.set(info.node, worker);
  }

  status(worker: Worker, status: NodeStatus): void {
    const { info } = worker;
    if (info === undefined || JSON.stringify(info.status) === JSON.stringify(status)) return;
    worker.info = { ...info, status };
    this.#tellOthers(worker, 'node', worker.info, 'changed');
  }

  leave(worker: Worker): void {
    const { info } = worker;
    if (info === undefined) return;
    worker.info = undefined;
    this.#joined.delete(info.node);
    this.#tellOthers(worker, 'node', info, 'down');
  }

  /** To all others, or to the one that is named. */
  tell(worker: Worker, topic: string, text: string, to: string | null): void {
    if (worker.info === undefined) return;
    const { node } = worker.info;
    if (to === null) this.#tellOthers(worker, 'told', node, topic, text);
    else if (to !== node) this.#joined.get(to)?.say('told', node, topic, text);
  }

  ask(worker: Worker, id: number, topic: string, text: string, to: string | null): void {
    if (worker.info === undefined) return;
    const question = [worker.number, id, worker.info.node, topic, text] as const;
    if (to === null) return this.#tellOthers(worker, 'question', ...question);
    const asked = this.#joined.get(to);
    if (asked === undefined) worker.say('answer', id, to, null);
    else asked.say('question', ...question);
  }

  answer(worker: Worker, asker: number, id: number, text: string | null): void {
    if (worker.info === undefined) return;
    const { node } = worker.info;
    for (const other of this.#joined.values())
      if (other.number === asker) other.say('answer', id, node, text);
  }

  tellAll<N extends keyof FromHub>(name: N, ...content: FromHub[N]): void {
    this.#tell(undefined, name, ...content);
  }

  #tellOthers<N extends keyof FromHub>(worker: Worker, name: N, ...content: FromHub[N]): void {
    this.#tell(worker, name, ...content);
  }

  #tell<N extends keyof FromHub>(but: Worker | undefined, name: N, ...content: FromHub[N]): void {
    const bytes = packed<FromHub, N>(name, ...content);
    for (const other of this.#joined.values()) if (other !== but) other.link.sendPacked(bytes);
  }
}
