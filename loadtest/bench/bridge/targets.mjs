/** What is measured. Each target tells which processes publish and receive, runs a load, and can be closed. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startBroker } from '../../support/process.mjs';
import { mint } from '../../support/token.mjs';
import { Sockets } from './sockets.mjs';

/** `kind` is durable or live; the patterns that the broker ships with make the difference. */
export function roomNames(kind, count) {
  const prefix = kind === 'live' ? 'live:bench' : 'bench';
  return Array.from({ length: count }, (_, at) => `${prefix}:${at}`);
}

async function brokers(count, env, setup) {
  const pods = [];
  for (let at = 0; at < count; at++) pods.push(await startBroker({ main: setup.main, env }));
  const [publisher, receiver = publisher] = pods;
  const sockets = await Sockets.open({
    from: publisher.listen,
    to: receiver.listen,
    token: await mint('bench'),
    rooms: setup.rooms,
    payloadBytes: setup.payloadBytes,
  });
  return {
    pids: pods.map(({ pid }) => pid),
    run: (load) => sockets.run(load),
    close: async () => {
      sockets.close();
      for (const pod of pods) await pod.stop();
    },
  };
}

/** A program of the bare pair: one question over IPC, one answer. */
function program(file) {
  const child = fork(fileURLToPath(new URL(`bare/${file}`, import.meta.url)), { execArgv: [] });
  const ask = (question) =>
    new Promise((resolve, reject) => {
      const ended = (code) => reject(new Error(`${file} ended with ${code}`));
      child.once('exit', ended);
      child.once('message', (answer) => {
        child.off('exit', ended);
        if (answer.failed === undefined) resolve(answer);
        else reject(new Error(answer.failed));
      });
      child.send(question);
    });
  return { pid: child.pid, ask, close: () => child.disconnect() };
}

async function bare(library, { urls, rooms, kind, replicas, payloadBytes }) {
  const [publisher, receiver] = [program('publisher.mjs'), program('receiver.mjs')];
  const setup = {
    prefix: library ? 'library' : 'bare',
    servers: urls,
    rooms,
    durable: kind === 'durable',
    library,
    replicas,
    payloadBytes,
  };
  await publisher.ask({ setup });
  await receiver.ask({ setup });
  return {
    pids: [publisher.pid, receiver.pid],
    run: async (load) => {
      await receiver.ask({ begin: { measuring: load.rate !== undefined } });
      const result = await publisher.ask({ load });
      const { received, holes, latencies } = await receiver.ask({ report: true });
      if (received !== result.published || holes > 0)
        throw new Error(`bare: ${result.published} published, ${received} received, ${holes} holes`);
      return { ...result, latencies };
    },
    close: async () => {
      publisher.close();
      receiver.close();
    },
  };
}

export const TARGETS = {
  embedded: { label: 'Carillon, embedded bus, one pod', start: (setup) => brokers(1, {}, setup) },
  nats: {
    label: 'Carillon, two pods on NATS',
    start: (setup) => brokers(2, { CARILLON_NATS_URL: setup.urls.join(',') }, setup),
  },
  bare: { label: 'bare client, own acks', start: (setup) => bare(false, setup) },
  library: { label: 'bare client, js.publish', durableOnly: true, start: (setup) => bare(true, setup) },
};
