/** Kernel settings that decide how many connections a machine takes, and how fast: docs/operations/kernel.md. */
import { SPARE_FILES } from '../../config/checks.ts';
import type { Config } from '../../config.ts';
import { type Finding, ok, warn } from './finding.ts';
import type { Place } from './place.ts';

/** What uWebSockets.js passes to listen(2): more than this no setting makes of it. */
const BACKLOG = 512;
/** Pages of tcp_mem, in bytes, on x86-64 and on arm64 as it is commonly built. */
const PAGE_BYTES = 4096;

/** Whether `limits.connections` is what the limit of open files leaves, and not a number that somebody wants. */
export function isAutomatic(config: Config, openFiles: number): boolean {
  return config.limits.connections === openFiles - SPARE_FILES;
}

/**
 * That `limits.connections` fits into it is a rule of the settings, without which nothing starts.
 * @param openFiles the soft limit of this process; NaN: not known.
 */
export function openFiles(config: Config, openFiles: number): Finding {
  const check = 'open-files';
  const fix = 'raise it: LimitNOFILE of systemd, --ulimit nofile of the container runtime, or ulimit -n';
  if (Number.isNaN(openFiles)) return warn(check, 'the limit of open files cannot be read', fix);
  const { connections } = config.limits;
  const says = `${openFiles} open files, ${connections} connections and ${SPARE_FILES} for everything else`;
  return openFiles < 2 * SPARE_FILES ? warn(check, says, fix) : ok(check, says);
}

export function systemFiles(place: Place, openFiles: number): Finding | undefined {
  const most = place.number('proc/sys/fs/file-max');
  if (most === undefined || Number.isNaN(openFiles)) return undefined;
  const check = 'system-files';
  const says = `fs.file-max is ${most} for all processes of the machine`;
  if (most >= openFiles) return ok(check, says);
  return warn(
    check,
    `${says}, less than the ${openFiles} of this one`,
    `sysctl -w fs.file-max=${openFiles * 2}`,
  );
}

export function acceptQueue(place: Place): Finding | undefined {
  const most = place.number('proc/sys/net/core/somaxconn');
  if (most === undefined) return undefined;
  const check = 'somaxconn';
  if (most >= BACKLOG)
    return ok(check, `net.core.somaxconn is ${most}; the broker's own backlog is ${BACKLOG}`);
  const says = `net.core.somaxconn is ${most}: handshakes that wait beyond it are dropped, and tried again after 1 s`;
  return warn(check, says, `sysctl -w net.core.somaxconn=4096`);
}

export function halfOpen(place: Place): Finding | undefined {
  const cookies = place.number('proc/sys/net/ipv4/tcp_syncookies');
  const most = place.number('proc/sys/net/ipv4/tcp_max_syn_backlog');
  if (cookies === undefined || most === undefined) return undefined;
  const check = 'syn-backlog';
  if (cookies > 0) return ok(check, 'net.ipv4.tcp_syncookies is on: a flood of SYN packets shuts nobody out');
  if (most >= 2 * BACKLOG) return ok(check, `net.ipv4.tcp_max_syn_backlog is ${most}`);
  const says = `net.ipv4.tcp_syncookies is off, and tcp_max_syn_backlog is ${most}: few SYN packets shut everybody out`;
  return warn(check, says, 'sysctl -w net.ipv4.tcp_syncookies=1');
}

/** Above the pressure mark the kernel makes every socket's buffers smaller, down to their minimum. */
export function socketMemory(place: Place, config: Config): Finding | undefined {
  const [, pressure] = place.numbers('proc/sys/net/ipv4/tcp_mem');
  const [read] = place.numbers('proc/sys/net/ipv4/tcp_rmem');
  const [write] = place.numbers('proc/sys/net/ipv4/tcp_wmem');
  if (pressure === undefined || read === undefined || write === undefined) return undefined;
  const check = 'tcp-memory';
  const most = Math.floor((pressure * PAGE_BYTES) / (read + write));
  const says = `net.ipv4.tcp_mem has the smallest buffers of ${most} busy connections at once`;
  const { connections } = config.limits;
  if (most >= connections) return ok(check, says);
  const pages = Math.ceil((connections * (read + write)) / PAGE_BYTES);
  const fix = `nothing, where few of the ${connections} connections are busy at once; else sysctl -w net.ipv4.tcp_mem="${pages} ${pages} ${2 * pages}"`;
  return warn(check, says, fix);
}

/** Where packets are tracked (kube-proxy, Docker, a firewall with state) each connection takes an entry. */
export function tracking(place: Place, config: Config, wanted: boolean): Finding | undefined {
  const most = place.number('proc/sys/net/netfilter/nf_conntrack_max');
  if (most === undefined) return undefined;
  const check = 'conntrack';
  const used = place.number('proc/sys/net/netfilter/nf_conntrack_count') ?? 0;
  const says = `net.netfilter.nf_conntrack_max is ${most}, ${used} in use`;
  const { connections } = config.limits;
  const fix = `sysctl -w net.netfilter.nf_conntrack_max=${Math.max(2 * connections, 2 * most)}`;
  if (used > 0.8 * most) return warn(check, `${says}: beyond it new connections are dropped`, fix);
  if (wanted && most < connections)
    return warn(
      check,
      `${says}: fewer than the ${connections} connections, if this machine tracks them`,
      fix,
    );
  return ok(check, says);
}
