/** What the container, or the unit, leaves to this process: memory and CPU. Both versions of control groups. */
import { posix } from 'node:path';
import { workersOf } from '../../config/workers.ts';
import type { Config } from '../../config.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import type { Place } from './place.ts';

const MIB = 1024 ** 2;
/** Version 1 says "none" by a number of this size. */
const NO_LIMIT = 2 ** 60;

/** Measured (docs/operations/capacity.md): 91 MB before the first connection; 4.7 KB for each, 4 KB more of the kernel. */
const PROCESS_BYTES = 128 * MIB;
const CONNECTION_BYTES = 10 * 1024;

interface Group {
  /** Where the files of the group and of those above it are, the innermost first. */
  readonly folders: readonly string[];
  readonly version: 1 | 2;
}

/** @param controller of version 1: `memory` or `cpu`. */
function groupOf(place: Place, controller: string): Group | undefined {
  for (const line of (place.text('proc/self/cgroup') ?? '').split('\n')) {
    const [, names = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names.split(',').includes(controller))
      return { folders: upwards(`sys/fs/cgroup/${controller}`, path), version: 1 };
  }
  const unified = /^0::(.*)$/m.exec(place.text('proc/self/cgroup') ?? '')?.[1];
  return unified === undefined ? undefined : { folders: upwards('sys/fs/cgroup', unified), version: 2 };
}

function upwards(base: string, path: string): string[] {
  const folders: string[] = [];
  for (let at = path; at !== '/' && at !== '.' && at !== ''; at = posix.dirname(at)) folders.push(base + at);
  return [...folders, base];
}

/** Bytes; undefined: no limit, or none that can be read. */
function memoryLimit(place: Place): number | undefined {
  const group = groupOf(place, 'memory');
  const file = group?.version === 1 ? 'memory.limit_in_bytes' : 'memory.max';
  const limits = (group?.folders ?? []).flatMap((folder) => place.number(`${folder}/${file}`) ?? []);
  const least = Math.min(...limits);
  return least < NO_LIMIT ? least : undefined;
}

/** Cores; undefined: no limit. */
function cpuLimit(place: Place): number | undefined {
  const group = groupOf(place, 'cpu');
  const limits = (group?.folders ?? []).flatMap((folder) => {
    const [quota, period] =
      group?.version === 1
        ? [place.number(`${folder}/cpu.cfs_quota_us`), place.number(`${folder}/cpu.cfs_period_us`)]
        : place.numbers(`${folder}/cpu.max`);
    // Of "max 100000" one number is left.
    return quota === undefined || period === undefined ? [] : quota / period;
  });
  const least = Math.min(...limits);
  return Number.isFinite(least) ? least : undefined;
}

/** @param wanted whether limits.connections is a number that somebody wants. */
export function memory(place: Place, config: Config, wanted: boolean): Finding | undefined {
  const check = 'memory';
  const limit = memoryLimit(place);
  const kib = /^MemTotal:\s+(\d+) kB/m.exec(place.text('proc/meminfo') ?? '')?.[1];
  const most = Math.min(limit ?? Number.POSITIVE_INFINITY, kib === undefined ? NO_LIMIT : Number(kib) * 1024);
  if (most >= NO_LIMIT) return undefined;
  const { historyTotalBytes } = config.limits;
  const processes = workersOf(config);
  const connections = processes * config.limits.connections;
  const apart = processes * PROCESS_BYTES + historyTotalBytes * processes;
  const says = `${Math.round(most / MIB)} MiB ${limit === undefined ? 'in the machine' : 'for this process'}: enough for about ${Math.max(0, Math.floor((most - apart) / CONNECTION_BYTES))} quiet connections beside limits.historyTotalBytes`;
  const needed = apart + connections * CONNECTION_BYTES;
  const fix = `give it ${Math.ceil(needed / MIB)} MiB, or lower limits.connections or limits.historyTotalBytes`;
  if (most < apart) return fail(check, says, fix);
  return wanted && most < needed ? warn(check, says, fix) : ok(check, says);
}

export function cpu(place: Place, config?: Config): Finding | undefined {
  const check = 'cpu';
  if (place.text('proc/self/cgroup') === undefined) return undefined;
  const cores = cpuLimit(place);
  if (cores === undefined) return ok(check, 'no limit of CPU time');
  const processes = config === undefined ? 1 : workersOf(config);
  const says = `the CPU limit is ${cores} cores, for ${processes} ${processes === 1 ? 'process' : 'processes'}`;
  if (cores > processes) return ok(check, says);
  const fix =
    'take the CPU limit out (keep the request), or lower workers: a process uses one core and some of a second';
  return warn(check, `${says}: they are stopped for the rest of each 100 ms once it is used up`, fix);
}
