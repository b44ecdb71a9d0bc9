/** The same load on a broker of one process and on one of several. */
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../../test/support/broker.ts';

export interface FanoutCost {
  readonly workers: number;
  readonly deliveriesPerSecond: number;
  /** Microseconds of CPU of all processes of the broker per delivery. */
  readonly cpuUs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the broker when idle, all processes. */
  readonly residentMb: number;
}

const ROOMS = 20;
const MEMBERS = 10;

export interface FanoutLoad {
  readonly seconds: number;
  /** Publishes per second over all rooms; 0: each room's publisher has eight under way. */
  readonly rate: number;
}

export async function fanoutCost(
  workers: number,
  nats: readonly string[],
  load: FanoutLoad,
): Promise<FanoutCost> {
  const broker = await startBroker({
    config: { workers, nats: { url: nats, streamBytes: '64MiB' }, limits: { rates: false } },
  });
  const sockets: WebSocket[] = [];
  try {
    const residentMb = (await sample(broker, 'carillon_process_memory_bytes{kind="resident"}')) / 2 ** 20;
    return { workers, residentMb, ...(await measured(broker, sockets, load)) };
  } finally {
    for (const socket of sockets) socket.terminate();
    await broker.stop();
  }
}

/** What the readers have received since the last `reset`. */
class Heard {
  times: number[] = [];

  reset(): void {
    this.times = [];
  }

  /** Milliseconds that this share of the deliveries took at most. */
  ms(share: number): number {
    const sorted = [...this.times].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  }
}

/** The writers, one of each room's members. */
async function members(
  broker: RunningBroker,
  sockets: WebSocket[],
  heard: Heard,
  acked: (socket: WebSocket, room: string) => void,
): Promise<WebSocket[]> {
  const writers: WebSocket[] = [];
  for (let at = 0; at < ROOMS * MEMBERS; at++) {
    const room = `r${at % ROOMS}`;
    const socket = await opened(broker, room);
    sockets.push(socket);
    if (at < ROOMS) writers.push(socket);
    socket.on('message', (data: Buffer) => {
      for (const frame of [JSON.parse(String(data))].flat())
        if (frame.type === 'event') heard.times.push(performance.now() - frame.payload.at);
        else if (frame.type === 'ack') acked(socket, room);
    });
  }
  return writers;
}

async function measured(broker: RunningBroker, sockets: WebSocket[], { seconds, rate }: FanoutLoad) {
  const heard = new Heard();
  const writers = await members(broker, sockets, heard, (socket, room) => rate === 0 && say(socket, room));
  let turn = 0;
  const next = () => say(writers[turn % ROOMS] as WebSocket, `r${turn++ % ROOMS}`);
  const pacing = setInterval(() => {
    for (let n = 0; n < rate / 100; n++) next();
  }, 10);
  if (rate === 0) for (let n = 0; n < 8 * ROOMS; n++) next();
  await pause(2000);
  const cpu = await cpuSeconds(broker);
  heard.reset();
  const began = performance.now();
  await pause(seconds * 1000);
  const deliveries = heard.times.length;
  const took = (performance.now() - began) / 1000;
  const spent = (await cpuSeconds(broker)) - cpu;
  clearInterval(pacing);
  return {
    deliveriesPerSecond: deliveries / took,
    cpuUs: (spent * 1e6) / deliveries,
    p50Ms: heard.ms(0.5),
    p99Ms: heard.ms(0.99),
  };
}

async function cpuSeconds(broker: RunningBroker): Promise<number> {
  const [user, system] = ['user', 'system'].map(
    (mode) => `carillon_process_cpu_seconds_total{mode="${mode}"}`,
  );
  return (await sample(broker, `${user}`)) + (await sample(broker, `${system}`));
}

const PADDING = 'x'.repeat(200);

function say(socket: WebSocket, room: string): void {
  const payload = { at: performance.now(), pad: PADDING };
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ type: 'pub', room, payload, id: 1 }));
}

async function opened(broker: RunningBroker, room: string): Promise<WebSocket> {
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${await broker.token()}`]);
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  socket.send(JSON.stringify({ type: 'join', room }));
  return socket;
}

async function sample(broker: RunningBroker, name: string): Promise<number> {
  const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
