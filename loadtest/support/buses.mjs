/** The two buses that a bench runs on. Needs tsx: the nats-server is the one that the tests use. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NatsCluster } from '../../test/support/nats/cluster.ts';
import { putFirst, startBroker } from './process.mjs';

/**
 * Runs `body` with a function that starts a broker with this config on the bus, before everything else on its CPU, and
 * with the addresses of NATS and its servers; stops everything after it.
 */
export async function withBus(bus, config, body) {
  const directory = mkdtempSync(join(tmpdir(), 'carillon-bench-'));
  const nats = bus === 'nats' ? await NatsCluster.start(1) : undefined;
  const file = join(directory, 'carillon.yaml');
  writeFileSync(file, JSON.stringify(config));
  const brokers = [];
  const start = async (options = {}) => {
    const env = {
      // As the image has it.
      MALLOC_MMAP_THRESHOLD_: '131072',
      CARILLON_CONFIG: file,
      ...(nats && { CARILLON_NATS_URL: nats.urls.join(',') }),
      ...options.env,
    };
    const broker = await startBroker({ ...options, env });
    brokers.push(broker);
    putFirst(broker.pid);
    return broker;
  };
  try {
    return await body(start, nats?.urls ?? [], nats);
  } finally {
    await Promise.all(brokers.map((broker) => broker.stop()));
    await nats?.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
