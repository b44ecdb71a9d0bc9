/** What a publish and its event cost by the bus alone: embedded, and by the hub of workers. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import process from 'node:process';
import type { Bus } from '../../../src/broker/ports.ts';
import { LocalBus } from '../../../src/bus/local/bus.ts';
import { HubLine } from '../../../src/bus/local/line.ts';
import { log, memoryBus, ROOM } from './parts.ts';

const PAYLOAD = JSON.stringify('x'.repeat(256));

export interface BusCost {
  readonly name: string;
  readonly perSecond: number;
  /** Microseconds of CPU per message, of the broker process and of the hub. */
  readonly brokerUs: number;
  readonly hubUs: number;
  /** Microseconds from the publish to its answer when nothing else is under way; the middle one. */
  readonly alone: number;
}

const micros = ({ user, system }: NodeJS.CpuUsage) => user + system;

export async function busCosts(messages: number): Promise<BusCost[]> {
  const embedded = memoryBus();
  const child = fork(new URL('./hub.ts', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe'],
  });
  const local = new LocalBus(new HubLine({ stream: child.stdio[4] as Socket, queueBytes: 2 ** 26, log }));
  const hubCpu = async () => {
    child.send('cpu');
    const [usage] = await once(child, 'message');
    return micros(usage as NodeJS.CpuUsage);
  };
  try {
    return [
      await costOf('embedded', embedded, messages, async () => 0),
      await costOf('hub of workers', local, messages, hubCpu),
    ];
  } finally {
    await local.close();
    child.disconnect();
  }
}

async function costOf(
  name: string,
  bus: Bus,
  messages: number,
  hubCpu: () => Promise<number>,
): Promise<BusCost> {
  let heard = 0;
  await new Promise<void>((resolve) =>
    bus.open(ROOM, {
      opened: () => resolve(),
      failed: ({ reason }) => process.exit(console.error(reason) ?? 1),
      event: () => void heard++,
      gap: () => undefined,
    }),
  );
  await publishAll(bus, messages / 10);
  const before = { at: performance.now(), own: process.cpuUsage(), hub: await hubCpu(), heard };
  await publishAll(bus, messages);
  const took = performance.now() - before.at;
  const own = micros(process.cpuUsage(before.own));
  const hub = (await hubCpu()) - before.hub;
  if (heard - before.heard !== messages)
    throw new Error(`${heard - before.heard} of ${messages} events came`);
  return {
    name,
    perSecond: (messages / took) * 1000,
    brokerUs: own / messages,
    hubUs: hub / messages,
    alone: await aloneUs(bus),
  };
}

function publish(bus: Bus, settled: () => void): void {
  bus.publish({ room: ROOM, from: 'ann', payload: PAYLOAD, ephemeral: false }, (outcome) => {
    if (!outcome.ok) throw new Error(outcome.reason);
    settled();
  });
}

const IN_FLIGHT = 256;

/** With so many under way, as many clients have them. */
function publishAll(bus: Bus, messages: number): Promise<void> {
  return new Promise((resolve) => {
    let left = messages;
    let open = 0;
    const more = () => {
      while (left > 0 && open < IN_FLIGHT) {
        left--;
        open++;
        publish(bus, () => {
          open--;
          if (left === 0 && open === 0) resolve();
          else if (open === 0) setImmediate(more);
        });
      }
    };
    more();
  });
}

async function aloneUs(bus: Bus): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < 2000; n++) {
    const began = performance.now();
    await new Promise<void>((resolve) => publish(bus, resolve));
    times.push((performance.now() - began) * 1000);
  }
  return times.sort((a, b) => a - b)[1000] as number;
}
