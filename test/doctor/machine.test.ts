/** What the doctor makes of /proc and /sys, from real files in a folder in the place of the root. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { cpu, memory } from '../../src/app/doctor/cgroup.ts';
import {
  acceptQueue,
  halfOpen,
  openFiles,
  socketMemory,
  systemFiles,
  tracking,
} from '../../src/app/doctor/kernel.ts';
import { Place } from '../../src/app/doctor/place.ts';
import { startWarnings } from '../../src/app/doctor/start.ts';
import { configOf, machine } from './support.ts';

const IPV4 = 'proc/sys/net/ipv4';
const CONFIG = configOf('limits: { connections: 100000, historyTotalBytes: 256MiB }');

function place(t: TestContext, files: Readonly<Record<string, string>>): Place {
  return new Place(machine(t, files));
}

test('a machine that tells nothing is not complained of', (t) => {
  const nowhere = place(t, {});
  const found = [
    acceptQueue(nowhere),
    halfOpen(nowhere),
    socketMemory(nowhere, CONFIG),
    tracking(nowhere, CONFIG, true),
    systemFiles(nowhere, 200_000),
    memory(nowhere, CONFIG, true),
    cpu(nowhere),
  ];
  assert.deepEqual(
    found.filter((each) => each !== undefined),
    [],
  );
});

test('the accept queue: from 512 on nothing is lost', (t) => {
  const at = (value: string) => acceptQueue(place(t, { 'proc/sys/net/core/somaxconn': value }))?.status;
  assert.deepEqual(['128', '511', '512', '4096'].map(at), ['warn', 'warn', 'ok', 'ok']);
});

test('half-open connections: cookies, or a long list', (t) => {
  const at = (cookies: string, backlog: string) =>
    halfOpen(place(t, { [`${IPV4}/tcp_syncookies`]: cookies, [`${IPV4}/tcp_max_syn_backlog`]: backlog }))
      ?.status;
  assert.deepEqual([at('1', '128'), at('0', '128'), at('0', '1024')], ['ok', 'warn', 'ok']);
});

test('open files of the process and of the system', (t) => {
  assert.equal(openFiles(CONFIG, 200_000).status, 'ok');
  assert.equal(openFiles(CONFIG, 1999).status, 'warn');
  assert.equal(openFiles(CONFIG, Number.NaN).status, 'warn');
  const at = (most: string) => systemFiles(place(t, { 'proc/sys/fs/file-max': most }), 200_000)?.status;
  assert.deepEqual([at('150000'), at('9223372036854775807')], ['warn', 'ok']);
});

test('socket memory: the smallest buffers of all connections below the pressure mark', (t) => {
  // 8 KiB for each of 100,000: 200,000 pages.
  const at = (mem: string) =>
    socketMemory(
      place(t, {
        [`${IPV4}/tcp_mem`]: mem,
        [`${IPV4}/tcp_rmem`]: '4096\t131072\t6291456',
        [`${IPV4}/tcp_wmem`]: '4096\t16384\t4194304',
      }),
      CONFIG,
    );
  assert.equal(at('100000\t200000\t300000')?.status, 'ok');
  const short = at('100000\t199999\t300000');
  assert.equal(short?.status, 'warn');
  assert.match(short?.fix ?? '', /tcp_mem="200000 200000 400000"/);
});

test('conntrack: nearly full is always told, too small only for a number that somebody wants', (t) => {
  const at = (max: string, count: string, wanted: boolean) => {
    const folder = 'proc/sys/net/netfilter';
    const files = { [`${folder}/nf_conntrack_max`]: max, [`${folder}/nf_conntrack_count`]: count };
    return tracking(place(t, files), CONFIG, wanted)?.status;
  };
  assert.equal(at('262144', '1000', true), 'ok');
  assert.equal(at('65536', '1000', true), 'warn');
  assert.equal(at('65536', '1000', false), 'ok');
  assert.equal(at('262144', '220000', false), 'warn');
});

const MEMINFO = 'MemTotal:       16384000 kB\nMemFree:  1 kB';
const GIB = 1024 ** 3;

test('memory: the innermost limit and those above it, of both versions of control groups', (t) => {
  const at = (files: Record<string, string>) =>
    memory(place(t, { 'proc/meminfo': MEMINFO, ...files }), CONFIG, true)?.says;
  assert.match(at({}) ?? '', /^16000 MiB in the machine/);
  const unit = { 'proc/self/cgroup': '0::/system.slice/carillon.service' };
  const leaf = 'sys/fs/cgroup/system.slice/carillon.service/memory.max';
  assert.match(at({ ...unit, [leaf]: 'max' }) ?? '', /^16000 MiB in the machine/);
  assert.match(at({ ...unit, [leaf]: String(2 * GIB) }) ?? '', /^2048 MiB for this process/);
  const above = { ...unit, [leaf]: 'max', 'sys/fs/cgroup/system.slice/memory.max': String(GIB) };
  assert.match(at(above) ?? '', /^1024 MiB for this process/);
  const pod = { 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/memory.max': String(3 * GIB) };
  assert.match(at(pod) ?? '', /^3072 MiB for this process/);
  const first = {
    'proc/self/cgroup': '9:name=systemd:/\n4:memory:/jobs/one\n0::/',
    'sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes': '9223372036854771712',
    'sys/fs/cgroup/memory/jobs/memory.limit_in_bytes': String(4 * GIB),
  };
  assert.match(at(first) ?? '', /^4096 MiB for this process/);
});

test('memory: enough, too little for the connections, too little to start', (t) => {
  const at = (mib: number, wanted = true) =>
    memory(
      place(t, { 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/memory.max': String(mib * 1024 ** 2) }),
      CONFIG,
      wanted,
    );
  assert.equal(at(1400)?.status, 'ok');
  assert.equal(at(900)?.status, 'warn');
  assert.match(at(900)?.fix ?? '', /^give it 1361 MiB/);
  assert.equal(at(900, false)?.status, 'ok');
  assert.equal(at(300, false)?.status, 'fail');
});

test('cpu: a limit of no more than a core for each process stops the loop, in both versions', (t) => {
  const second = (max: string) =>
    cpu(place(t, { 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': max }))?.status;
  assert.deepEqual(['max 100000', '150000 100000', '100000 100000'].map(second), ['ok', 'ok', 'warn']);
  const first = (quota: string) =>
    cpu(
      place(t, {
        'proc/self/cgroup': '2:cpu,cpuacct:/a',
        'sys/fs/cgroup/cpu/a/cpu.cfs_quota_us': quota,
        'sys/fs/cgroup/cpu/a/cpu.cfs_period_us': '100000',
      }),
    )?.status;
  assert.deepEqual(['-1', '50000'].map(first), ['ok', 'warn']);
});

test('workers: each uses a core, and memory of its own', (t) => {
  const files = { 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': '200000 100000' };
  const config = configOf(
    'workers: 3\nnats: { url: nats://127.0.0.1:4222 }\nlimits: { connections: 100000, historyTotalBytes: 256MiB }',
  );
  assert.equal(cpu(place(t, files), CONFIG)?.status, 'ok');
  assert.match(cpu(place(t, files), config)?.says ?? '', /2 cores, for 3 processes: they are stopped/);
  const limited = { 'proc/self/cgroup': '0::/', 'sys/fs/cgroup/memory.max': String(2 * GIB) };
  assert.equal(memory(place(t, limited), CONFIG, true)?.status, 'ok');
  // 3 x 128 MiB, 3 x 256 MiB of history, 300,000 x 10 KiB.
  assert.match(memory(place(t, limited), config, true)?.fix ?? '', /^give it 4082 MiB/);
});

test('a start warns of what clients will notice, each with a fix', (t) => {
  const root = machine(t, {
    'proc/sys/net/core/somaxconn': '128',
    'proc/sys/net/netfilter/nf_conntrack_max': '65536',
    'proc/self/cgroup': '0::/',
    'sys/fs/cgroup/memory.max': String(900 * 1024 ** 2),
    'sys/fs/cgroup/cpu.max': '100000 100000',
  });
  const checks = (openFiles: number) =>
    startWarnings(CONFIG, openFiles, root).map(({ check, fix }) => check + (fix === undefined ? '?' : ''));
  assert.deepEqual(checks(200_000), ['somaxconn', 'conntrack', 'memory']);
  // 100,000 is all that the limit of open files leaves: nobody has asked for as many.
  assert.deepEqual(checks(101_000), ['somaxconn']);
});
