import type { Logger } from 'pino';
import type { Cluster } from '../broker/cluster.ts';
import type { LifecycleEvent, LifecycleSink } from '../broker/lifecycle/event.ts';
import type { LifecycleParts } from '../broker/lifecycle/lifecycle.ts';
import type { Bus } from '../broker/ports.ts';
import { LifecycleWebhook } from '../bus/hooks/webhook.ts';
import { FileLifecycle } from '../bus/memory/lifecycle.ts';
import { NatsBus } from '../bus/nats/bus.ts';
import { NatsLifecycle } from '../bus/nats/lifecycle/log.ts';
import type { Config } from '../config.ts';
import type { LifecycleFigures } from '../ops/lifecycle.ts';
import { clock } from './time.ts';

/** Where the record of sessions is kept: a stream, a file, or nowhere but at the webhook. */
type Kept = NatsLifecycle | FileLifecycle | undefined;

export interface RecordOfSessions {
  /** For the hub; undefined: none is kept. */
  readonly parts: Pick<LifecycleParts, 'sink' | 'archive' | 'graceMs'> | undefined;
  /** After the bus has started. Throws with the reason. */
  start(): Promise<void>;
  /** After the hub, before the bus. */
  close(): Promise<void>;
  figures(): LifecycleFigures | undefined;
}

export interface RecordNeeds {
  readonly config: Config;
  readonly log: Logger;
  readonly bus: Bus;
  readonly cluster: Cluster;
}

export function createRecord(needs: RecordNeeds): RecordOfSessions {
  const { log } = needs;
  const { lifecycle } = needs.config;
  if (!lifecycle.enabled)
    return { parts: undefined, start: async () => {}, close: async () => {}, figures: () => undefined };
  const kept = createKept(needs);
  const webhook =
    lifecycle.webhook &&
    new LifecycleWebhook({
      settings: lifecycle.webhook,
      undelivered: (id, payload) => {
        if (kept !== undefined) kept.undelivered(id, payload);
        else log.error({ delivery: id }, 'events of sessions are lost: the webhook does not take them');
      },
      log,
      now: () => clock.now(),
      random: Math.random,
    });
  const sink: LifecycleSink = {
    append: (event: LifecycleEvent) => {
      kept?.append(event);
      webhook?.append(event);
    },
    flushed: async () => (await kept?.flushed()) ?? true,
  };
  return {
    parts: {
      sink,
      archive: async (run) => (kept === undefined ? [] : kept.read(run)),
      graceMs: lifecycle.graceMs,
    },
    start: async () => kept?.start(),
    close: async () => {
      await webhook?.close();
      await kept?.close();
    },
    figures: () => ({
      ...(kept !== undefined && { kept: { ...kept.counts, waiting: kept.waiting } }),
      ...(webhook !== undefined && {
        webhook: { ...webhook.counts },
        webhookWaiting: webhook.waiting,
        webhookOpen: webhook.open,
      }),
    }),
  };
}

function createKept({ config, log, bus, cluster }: RecordNeeds): Kept {
  const { lifecycle, nats, state } = config;
  if (nats !== undefined && bus instanceof NatsBus)
    return new NatsLifecycle({
      link: () => bus.link(),
      options: nats,
      settings: lifecycle,
      node: cluster.node,
      run: cluster.incarnation,
      clock,
      log,
    });
  if (state.dir === undefined) return undefined;
  return new FileLifecycle({ dir: state.dir, settings: lifecycle, log });
}
