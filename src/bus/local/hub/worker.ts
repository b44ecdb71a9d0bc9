import type { NodeInfo } from '../../../broker/cluster.ts';
import type { Link } from '../link.ts';
import type { FromHub, FromWorker } from '../wire.ts';

/** A worker, as the hub knows it. */
export class Worker {
  /** Never used again within a run of the hub. */
  readonly number: number;
  readonly link: Link<FromHub, FromWorker>;
  /** Keys of the rooms that it is fed. */
  readonly rooms = new Set<string>();
  /** undefined until it has joined the others. */
  info: NodeInfo | undefined;

  constructor(number: number, link: Link<FromHub, FromWorker>) {
    this.number = number;
    this.link = link;
  }

  say<N extends keyof FromHub>(name: N, ...content: FromHub[N]): void {
    this.link.send(name, ...content);
  }
}
