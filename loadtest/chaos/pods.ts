import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningBroker, startBroker } from '../../test/support/broker.ts';
import { freeAddress } from '../../test/support/port.ts';

export interface PodsSetup {
  readonly count: number;
  readonly natsUrls: readonly string[];
  /** As in the broker's YAML. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** One broker process with addresses that stay through restarts. */
export class Pod {
  readonly name: string;
  readonly url: string;
  /** host:port, which stay. */
  readonly address: string;
  readonly admin: string;
  readonly #setup: PodsSetup;
  #running: RunningBroker | undefined;

  constructor(name: string, address: string, admin: string, setup: PodsSetup) {
    this.name = name;
    this.url = `ws://${address}/connect`;
    this.address = address;
    this.admin = admin;
    this.#setup = setup;
  }

  /** Throws while it is down. */
  get broker(): RunningBroker {
    if (this.#running === undefined) throw new Error(`${this.name} is down`);
    return this.#running;
  }

  /** Neither down nor on its way down: a load balancer sends clients there. */
  get serving(): boolean {
    return this.#running !== undefined;
  }

  async start(): Promise<void> {
    const { natsUrls, config } = this.#setup;
    const env = {
      CARILLON_LISTEN: this.address,
      CARILLON_ADMIN_LISTEN: this.admin,
      CARILLON_NODE__SERVERID: this.name,
      CARILLON_NATS_URL: natsUrls.join(','),
    };
    this.#running = await startBroker({ env, config });
  }

  async kill(): Promise<void> {
    const { broker } = this;
    this.#running = undefined;
    await broker.kill();
  }

  /** SIGTERM. Throws when it does not end by itself within `patienceMs`, or not with 0. */
  async drain(patienceMs?: number): Promise<void> {
    const { broker } = this;
    this.#running = undefined;
    const { code, signal } = await broker.stop(patienceMs);
    if (code !== 0) throw new Error(`${this.name} ended with ${code ?? signal}`);
  }

  async close(): Promise<void> {
    if (this.#running !== undefined) await this.kill();
  }

  /** Until it calls itself ready. Throws after `ms`. */
  async ready(ms: number): Promise<void> {
    const until = Date.now() + ms;
    for (;;) {
      const answer = await fetch(`${this.broker.adminUrl}/readyz`);
      const text = await answer.text();
      if (answer.ok) return;
      if (Date.now() > until) throw new Error(`${this.name} is not ready after ${ms} ms: ${text}`);
      await sleep(100);
    }
  }
}

export async function startPods(setup: PodsSetup): Promise<Pod[]> {
  const pods: Pod[] = [];
  for (let at = 0; at < setup.count; at++)
    pods.push(new Pod(`pod-${at + 1}`, await freeAddress(), await freeAddress(), setup));
  // One after the other: the first one makes the streams.
  for (const pod of pods) await pod.start();
  return pods;
}
