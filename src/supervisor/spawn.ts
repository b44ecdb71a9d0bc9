import { type ChildProcess, fork } from 'node:child_process';
import type { Writable } from 'node:stream';
import { wholeLines } from './lines.ts';

export interface Program {
  /** The file that this process runs. */
  readonly file: string;
  /** Its arguments, as a worker has them too. */
  readonly args: readonly string[];
  /** Where the log goes. */
  readonly out: Writable;
}

/** This program as a worker. */
export function spawnWorker({ file, args, out }: Program, number: number): ChildProcess {
  const child = fork(file, [...args, '--worker', String(number)], {
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  child.stdout?.pipe(wholeLines()).pipe(out, { end: false });
  return child;
}
