/** What every Bus promises (src/broker/ports.ts), as tests that each implementation runs. */
import { boundaryTests } from './bus/boundaries.ts';
import { dedupeTests } from './bus/dedupe.ts';
import { deliveryTests } from './bus/delivery.ts';
import { historyTests } from './bus/history.ts';
import { liveTests } from './bus/live.ts';
import { replayTests } from './bus/replay.ts';
import { retentionTests } from './bus/retention.ts';
import { type BusTraits, type BusUnderTest, promises } from './bus/subject.ts';

export type { BusTraits, BusUnderTest } from './bus/subject.ts';

export function busContract(name: string, make: () => Promise<BusUnderTest>, traits: BusTraits): void {
  const promised = promises(name, make, traits);
  deliveryTests(promised);
  boundaryTests(promised);
  dedupeTests(promised);
  liveTests(promised);
  replayTests(promised);
  historyTests(promised);
  retentionTests(promised);
}
