/** Changes a stream, and notes in it what the change does to what can be said of it (retention.ts). */
import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { GROWN_AT } from './retention.ts';

/** While the limit per subject is being raised: no place of the stream is known to be without loss. */
const GROWING = String(Number.MAX_SAFE_INTEGER);

/** A change that raises the limit was not brought to its end. */
export function isGrowing({ metadata }: StreamConfig): boolean {
  return metadata?.[GROWN_AT] === GROWING;
}

/**
 * A room that the old limit has cut has fewer events than the new one allows, and would pass for whole. So the stream
 * keeps the place up to where the old limit may have cut: before the limit grows that is any, then the last one.
 */
export async function updateStream(
  manager: JetStreamManager,
  { config }: StreamInfo,
  wanted: Partial<StreamConfig> & Pick<StreamConfig, 'name'>,
): Promise<void> {
  const { name } = wanted;
  const metadata = { ...config.metadata, ...wanted.metadata };
  if (!isGrowing(config) && limitOf(wanted) <= limitOf(config)) {
    await manager.streams.update(name, { ...wanted, metadata });
    return;
  }
  await manager.streams.update(name, { ...wanted, metadata: { ...metadata, [GROWN_AT]: GROWING } });
  const { state } = await manager.streams.info(name);
  await manager.streams.update(name, {
    ...wanted,
    metadata: { ...metadata, [GROWN_AT]: String(state.last_seq) },
  });
}

function limitOf({ max_msgs_per_subject: limit = 0 }: Partial<StreamConfig>): number {
  return limit > 0 ? limit : Number.POSITIVE_INFINITY;
}
