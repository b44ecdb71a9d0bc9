import type { Log } from '../../broker/ports.ts';
import type { Limits, RoomPolicy } from '../../broker/settings.ts';
import { dial } from './connection.ts';
import { environment } from './env.ts';
import type { NatsOptions } from './options.ts';
import { type ApplyReport, retentionOf, Streams, withoutHistory } from './streams.ts';
import { Subjects } from './subject.ts';

export interface ApplyParts {
  readonly options: NatsOptions;
  readonly policies: readonly RoomPolicy[];
  readonly limits: Pick<Limits, 'payloadBytes' | 'dedupeWindowMs'>;
  readonly log: Log;
}

/**
 * `carillon streams apply`: makes the streams what the settings ask for, creating and updating them. Needs
 * `applyPermissions`. Throws with the reason when it cannot.
 */
export async function applyStreams({ options, policies, limits, log }: ApplyParts): Promise<ApplyReport> {
  const retention = retentionOf(policies, limits);
  if (retention === undefined) throw new Error('no room has a history: there are no streams to make');
  const env = environment({ now: Date.now }, log);
  const inbox = new Subjects(options.prefix, options.shards).inbox('streams-apply');
  const connection = await dial('carillon streams apply', inbox, options, env);
  try {
    const cannot = withoutHistory(connection);
    if (cannot !== undefined) throw new Error(`NATS cannot keep history: ${cannot}`);
    return await new Streams(connection, options, retention).apply();
  } finally {
    await connection.close();
  }
}
