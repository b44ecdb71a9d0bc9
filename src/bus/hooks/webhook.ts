/** Sends the record of sessions to a backend over HTTP: in order, signed, again and again, and never without a trace. */
import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Breaker } from '../../broker/breaker.ts';
import type { LifecycleEvent } from '../../broker/lifecycle/event.ts';
import type { Log } from '../../broker/ports.ts';
import type { LifecycleWebhookSettings } from '../../broker/settings.ts';

export interface LifecycleWebhookParts {
  readonly settings: LifecycleWebhookSettings;
  /** Takes what could not be delivered, as one JSON text; the id is the delivery's. */
  readonly undelivered: (id: string, payload: string) => void;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
}

/** `refused`: the backend says that it will never take it; `full`: more waited than may; `stopped`: the node ended. */
export type Undelivered = 'failed' | 'refused' | 'full' | 'stopped';

const BATCH_BYTES = 192 * 1024;
const CLOSE_MS = 3000;
/** They say "not now". */
const PASSING = new Set([408, 425, 429]);

export class LifecycleWebhook {
  readonly #parts: LifecycleWebhookParts;
  readonly #breaker: Breaker;
  #queue: string[] = [];
  #running: Promise<void> | undefined;
  readonly #stop = new AbortController();
  /** Events, since the start. */
  readonly counts = { delivered: 0, retried: 0, failed: 0, refused: 0, full: 0, stopped: 0 };

  constructor(parts: LifecycleWebhookParts) {
    this.#parts = parts;
    this.#breaker = new Breaker(parts.settings);
  }

  get waiting(): number {
    return this.#queue.length;
  }

  get open(): boolean {
    return this.#breaker.open;
  }

  append(event: LifecycleEvent): void {
    const { queue, batch } = this.#parts.settings;
    // The oldest go, a batch at a time, so that what is delivered later is not older than what is lost.
    if (this.#queue.length >= queue) this.#bury(this.#queue.splice(0, batch), 'full');
    this.#queue.push(JSON.stringify(event));
    this.#running ??= this.#run().catch((error: unknown) => {
      this.#parts.log.error({ err: error }, 'the lifecycle webhook has stopped until the next event');
      this.#running = undefined;
    });
  }

  /** Delivers what it can in a short time; the rest is kept as undelivered. */
  async close(): Promise<void> {
    const late = setTimeout(() => this.#stop.abort(), CLOSE_MS);
    await this.#running;
    clearTimeout(late);
    this.#stop.abort();
    while (this.#queue.length > 0) this.#bury(this.#queue.splice(0, this.#parts.settings.batch), 'stopped');
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      if (this.#queue.length < this.#parts.settings.batch) await this.#pause(this.#parts.settings.lingerMs);
      await this.#deliver(this.#take());
    }
    this.#running = undefined;
  }

  #take(): string[] {
    let bytes = 0;
    let count = 0;
    for (const event of this.#queue) {
      bytes += Buffer.byteLength(event);
      if (count > 0 && (count >= this.#parts.settings.batch || bytes > BATCH_BYTES)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #deliver(events: readonly string[]): Promise<void> {
    const { attempts, retryMinMs, retryMaxMs } = this.#parts.settings;
    const delivery = randomUUID();
    const body = `{"delivery":"${delivery}","events":[${events.join(',')}]}`;
    for (let attempt = 1; ; ) {
      const wait = this.#breaker.enter(this.#parts.now());
      if (this.#stop.signal.aborted) return this.#bury(events, 'stopped');
      if (wait > 0) {
        await this.#pause(wait);
        continue;
      }
      const outcome = await this.#post(delivery, body);
      if (outcome === 'ok') {
        this.counts.delivered += events.length;
        return;
      }
      if (outcome === 'refused') return this.#bury(events, 'refused');
      if (attempt++ >= attempts) return this.#bury(events, 'failed');
      this.counts.retried++;
      const bound = Math.min(retryMaxMs, retryMinMs * 2 ** (attempt - 2));
      await this.#pause(bound / 2 + (this.#parts.random() * bound) / 2);
    }
  }

  async #post(delivery: string, body: string): Promise<'ok' | 'refused' | 'failed'> {
    const { url, secret, timeoutMs } = this.#parts.settings;
    const at = Math.floor(this.#parts.now() / 1000);
    const signature = createHmac('sha256', secret).update(`${at}.${body}`).digest('hex');
    const headers = {
      'content-type': 'application/json',
      'carillon-delivery': delivery,
      'carillon-signature': `t=${at},v1=${signature}`,
    };
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#stop.signal]);
    try {
      // A redirect would hand the events to whoever the backend names.
      const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal });
      await response.body?.cancel();
      return this.#judged(response.status);
    } catch (error) {
      // What fetch rejects with: a network or protocol error, or the signal.
      if (error instanceof TypeError || error instanceof DOMException) return this.#failed(error.name);
      throw error;
    }
  }

  #judged(status: number): 'ok' | 'refused' | 'failed' {
    const passing = status >= 500 || PASSING.has(status) || (status >= 300 && status < 400);
    if (passing) return this.#failed(`status ${status}`);
    if (this.#breaker.open) this.#parts.log.info({}, 'the lifecycle webhook answers again');
    this.#breaker.succeeded();
    if (status < 300) return 'ok';
    this.#parts.log.error({ status }, 'the lifecycle webhook refuses events');
    return 'refused';
  }

  #failed(why: string): 'failed' {
    const wasOpen = this.#breaker.open;
    this.#breaker.failed(this.#parts.now());
    if (!wasOpen) this.#parts.log.warn({ why, open: this.#breaker.open }, 'the lifecycle webhook failed');
    return 'failed';
  }

  #bury(events: readonly string[], why: Undelivered): void {
    this.counts[why] += events.length;
    const id = randomUUID();
    const head = { at: this.#parts.now(), why };
    this.#parts.undelivered(id, `${JSON.stringify(head).slice(0, -1)},"events":[${events.join(',')}]}`);
  }

  async #pause(ms: number): Promise<void> {
    // The end is no failure: the caller looks at the signal.
    await sleep(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
  }
}
