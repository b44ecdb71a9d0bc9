/** NATS as the broker would find it: reachable, with JetStream, the streams as the settings want them, the clock. */
import type { NatsLook, StreamLook } from '../../bus/nats/look.ts';
import type { Config } from '../../config.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const APPLY = 'carillon streams apply, with these settings and credentials that may';

const NARROW =
  'nothing: it does no harm; `carillon streams apply --narrow` says what it would drop, and takes it back';

/** @param look throws with the reason where NATS cannot be asked. */
export async function nats(config: Config, look: () => Promise<NatsLook>): Promise<readonly Finding[]> {
  if (config.nats === undefined) return [ok('nats', 'not used: the embedded bus, one process')];
  let seen: NatsLook;
  try {
    seen = await look();
  } catch (error) {
    const says = error instanceof Error ? error.message : String(error);
    return [fail('nats', says, 'see nats.url, the credentials and docs/operations/nats.md')];
  }
  return [
    server(seen),
    jetstream(config, seen),
    payload(seen),
    clocks(config, seen),
    ...seen.streams.map((stream) => streamFinding(config, stream)),
    ...copies(seen),
  ];
}

/** The oldest that gets fixes, with those that matter to a broker. */
const RECOMMENDED = [2, 14, 7] as const;

function server({ server, version, roundTripMs }: NatsLook): Finding {
  const says = `${server} answers after ${roundTripMs} ms, version ${version}`;
  const parts = version.split('.').map((part) => Number.parseInt(part, 10));
  const at = RECOMMENDED.findIndex((wanted, index) => parts[index] !== wanted);
  const older = at >= 0 && (parts[at] ?? 0) < (RECOMMENDED[at] as number);
  return older ? warn('nats', says, `nats-server ${RECOMMENDED.join('.')} or newer`) : ok('nats', says);
}

function jetstream({ nats }: Config, { withoutHistory }: NatsLook): Finding {
  const check = 'jetstream';
  if (withoutHistory === undefined) return ok(check, 'there');
  if (nats?.coreOnly)
    return warn(
      check,
      `${withoutHistory}: rooms have no history`,
      'nothing, if nats.coreOnly is what you want',
    );
  return fail(check, withoutHistory, 'nats-server 2.11 or newer, started with JetStream; or nats.coreOnly');
}

function payload({ payload: { max, needed } }: NatsLook): Finding {
  const check = 'nats-payload';
  const says = `max_payload is ${max}, limits.payloadBytes and headers are ${needed}`;
  return max >= needed ? ok(check, says) : fail(check, says, 'raise max_payload of the servers');
}

function clocks({ cluster }: Config, { skewMs }: NatsLook): Finding {
  const check = 'clock';
  if (skewMs === undefined) return ok(check, 'not compared: the server names no time');
  const says = `this clock and that of NATS differ by ${Math.abs(Math.round(skewMs))} ms`;
  if (Math.abs(skewMs) <= cluster.skewMs) return ok(check, says);
  const fix = 'run chrony or systemd-timesyncd: expiry of tokens, and limits shared by leases, go by it';
  return warn(check, `${says}, more than cluster.skewMs`, fix);
}

function streamFinding({ nats }: Config, stream: StreamLook): Finding {
  const { name, there, differences, wider, replicas, leader, lagging } = stream;
  const check = 'stream';
  if (!there)
    return nats?.manageStreams
      ? ok(check, `${name} is missing: the first broker makes it`)
      : fail(check, `${name} is missing, and nats.manageStreams is false`, APPLY);
  if (differences.length > 0) return fail(check, `${name}: ${differences.join('; ')}`, APPLY);
  if (leader === undefined || leader === '')
    return fail(
      check,
      `${name} has no leader: it takes no publishes`,
      'bring servers back until most are there',
    );
  if (lagging.length > 0)
    return warn(check, `${name}: ${lagging.join(', ')} away or behind`, 'nats server report jetstream');
  if (replicas.is !== replicas.wanted) {
    const fix = replicas.is > replicas.wanted ? NARROW : APPLY;
    return warn(check, `${name} has ${replicas.is} copies, and ${replicas.wanted} are wanted`, fix);
  }
  if (wider.length > 0) return warn(check, `${name} keeps more than needed: ${wider.join('; ')}`, NARROW);
  return ok(check, `${name}: ${replicas.is} copies, led by ${leader}`);
}

function copies({ clustered, streams }: NatsLook): readonly Finding[] {
  if (clustered || streams.length === 0) return [];
  const fix = 'three servers as a cluster, where history has to outlive one of them';
  return [warn('nats-copies', 'a single NATS server: what it keeps is gone with its disk', fix)];
}
