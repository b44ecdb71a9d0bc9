/** What `carillon doctor` sees of NATS: the server that answers and the streams. Changes nothing. */
import type { NatsConnection } from '@nats-io/nats-core';
import { type ApplyParts, streamsOf } from './apply.ts';
import { dial } from './connection.ts';
import { type Env, environment } from './env.ts';
import { streamFit } from './stream-fit.ts';
import { HEADER_BYTES, Streams, withoutHistory } from './streams.ts';
import { Subjects } from './subject.ts';
import { commandTimers } from './timers.ts';

export interface StreamLook {
  readonly name: string;
  readonly there: boolean;
  /** Settings that are not as wanted, in words. */
  readonly differences: readonly string[];
  /** Where it keeps more than the settings say, which does no harm. */
  readonly wider: readonly string[];
  readonly replicas: { readonly wanted: number; readonly is: number };
  /** Undefined: nobody leads the stream; it takes no publishes. On a single server: that one. */
  readonly leader: string | undefined;
  /** Servers whose copy is away or behind. */
  readonly lagging: readonly string[];
}

export interface NatsLook {
  readonly server: string;
  readonly version: string;
  readonly clustered: boolean;
  /** Why it cannot keep history; undefined: it can. */
  readonly withoutHistory: string | undefined;
  /** Bytes that a message may have, and those that one needs. */
  readonly payload: { readonly max: number; readonly needed: number };
  readonly roundTripMs: number;
  /** How far the server's clock is ahead of this one's; undefined: nothing said so. Good to half a round trip. */
  readonly skewMs: number | undefined;
  readonly streams: readonly StreamLook[];
}

/** Throws with the reason where NATS cannot be reached within `connectTimeoutMs`, or refuses to be asked. */
export async function lookAtNats(parts: ApplyParts): Promise<NatsLook> {
  const { log } = parts;
  const options = { ...parts.options, startTimeoutMs: parts.options.connectTimeoutMs };
  const env = environment({ now: Date.now }, log, commandTimers);
  const inbox = new Subjects(options.prefix, options.shards).inbox('doctor');
  const connection = await dial('carillon doctor', inbox, options, env);
  try {
    return await look(connection, { ...parts, options }, env);
  } finally {
    await connection.close();
  }
}

async function look(connection: NatsConnection, parts: ApplyParts, env: Env): Promise<NatsLook> {
  const { server_name: server = '?', version = '?', cluster, max_payload: max = 0 } = connection.info ?? {};
  const cannot = withoutHistory(connection);
  const roundTripMs = await connection.rtt();
  const at = env.now();
  const found =
    cannot === undefined ? await new Streams(connection, parts.options, streamsOf(parts)).seen() : [];
  const said = found.find(({ info }) => info !== undefined)?.info;
  return {
    server,
    version,
    clustered: cluster !== undefined,
    withoutHistory: cannot,
    payload: { max, needed: parts.limits.payloadBytes + HEADER_BYTES },
    roundTripMs,
    skewMs: said === undefined ? undefined : skew(said, at, env.now()),
    streams: found.map(streamLook),
  };
}

type Seen = Awaited<ReturnType<Streams['seen']>>[number];

/** The answer came some time between the two: what lies in between proves nothing. */
function skew(said: object, fromMs: number, untilMs: number): number | undefined {
  const ts = Date.parse('ts' in said ? String(said.ts) : '');
  if (Number.isNaN(ts)) return undefined;
  return ts < fromMs ? ts - fromMs : Math.max(0, ts - untilMs);
}

function streamLook({ wanted, info }: Seen): StreamLook {
  const { name, num_replicas: copies = 1 } = wanted;
  if (info === undefined)
    return {
      name,
      there: false,
      differences: [],
      wider: [],
      replicas: { wanted: copies, is: 0 },
      leader: undefined,
      lagging: [],
    };
  const { config, cluster } = info;
  const { wrong, wider } = streamFit(config, wanted);
  return {
    name,
    there: true,
    differences: wrong,
    wider,
    replicas: { wanted: copies, is: config.num_replicas },
    leader: cluster === undefined ? 'the server' : cluster.leader,
    lagging: (cluster?.replicas ?? [])
      .filter((peer) => peer.offline || !peer.current)
      .map((peer) => peer.name),
  };
}
