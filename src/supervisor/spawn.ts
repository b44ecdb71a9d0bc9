import { type ChildProcess, fork } from 'node:child_process';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { wholeLines } from './lines.ts';

/** Where a worker finds its stream to the hub. */
export const HUB_DESCRIPTOR = 4;

export interface Program {
  /** The file that this process runs. */
  readonly file: string;
  /** Its arguments, as a worker has them too. */
  readonly args: readonly string[];
  /** Where the log goes. */
  readonly out: Writable;
}

/**
 * This program as a worker. `fed`: with a stream to the hub, a pair of sockets that nobody else can come by: no path,
 * no permission, nothing left behind.
 */
export function spawnWorker({ file, args, out }: Program, number: number, fed: boolean): ChildProcess {
  const child = fork(file, [...args, '--worker', String(number)], {
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'inherit', 'ipc', fed ? 'pipe' : 'ignore'],
  });
  child.stdout?.pipe(wholeLines()).pipe(out, { end: false });
  return child;
}

export function hubStream(child: ChildProcess): Socket | undefined {
  return (child.stdio[HUB_DESCRIPTOR] ?? undefined) as Socket | undefined;
}
