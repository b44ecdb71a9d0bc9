/** What every Cluster promises (src/broker/cluster.ts), as tests that each implementation runs. */
import { storeTests } from './cluster/store.ts';
import { type ClusterTraits, type ClusterUnderTest, promises, type Setup } from './cluster/subject.ts';
import { talkTests } from './cluster/talk.ts';

export type { ClusterTraits, ClusterUnderTest, Setup } from './cluster/subject.ts';

export function clusterContract(
  name: string,
  make: (setup: Setup) => Promise<ClusterUnderTest>,
  traits: ClusterTraits,
): void {
  const promised = promises(name, make, traits);
  talkTests(promised);
  storeTests(promised);
}
