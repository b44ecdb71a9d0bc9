/** One worker: its process, and the next one when that has ended. */
import type { ChildProcess } from 'node:child_process';
import type { Log } from '../broker/ports.ts';
import type { Readiness } from '../ops/health.ts';
import type { Backoff } from './backoff.ts';
import type { WorkerView } from './health.ts';
import type { Begin, FromWorker, Leaving, Questions, ToWorker } from './messages.ts';

export type EndCause = 'exit' | 'signal' | 'stuck';

export interface WorkerParts {
  readonly number: number;
  /** A new process of this worker; its streams are taken care of. */
  readonly spawn: () => ChildProcess;
  readonly begin: () => Begin;
  readonly backoff: Backoff;
  readonly stuckMs: number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly log: Log;
  /** The process listens. */
  readonly listening: (listen: string, pid: number | undefined) => void;
  /** It has been asked for a drain of all workers. */
  readonly leaving: (leaving: Leaving) => void;
  /** The process has ended, whether or not another follows. */
  readonly ended: (cause: EndCause, code: number | null) => void;
}

/** Until a process has loaded the program it answers nothing: seconds, on a busy machine. */
const LOADING_MS = 60_000;

interface Asking {
  readonly answered: (answer: unknown) => void;
}

export class Worker {
  readonly #parts: WorkerParts;
  readonly #asking = new Map<number, Asking>();
  #child: ChildProcess | undefined;
  #questions = 0;
  #state: WorkerView['state'] = 'starting';
  #readiness: Readiness | undefined;
  #answeredAt = 0;
  #servingSince: number | undefined;
  #restart: NodeJS.Timeout | undefined;
  #restartAt = 0;
  #stuck = false;
  /** It has answered once. */
  #loaded = false;
  #stopping = false;
  /** It has not ended otherwise than it was asked to. */
  clean = true;

  constructor(parts: WorkerParts) {
    this.#parts = parts;
  }

  get number(): number {
    return this.#parts.number;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  get view(): WorkerView {
    const now = this.#parts.nowMs();
    return {
      number: this.number,
      state: this.#state,
      restartInMs: Math.max(0, this.#restartAt - now),
      readiness: this.#readiness,
      silentMs: now - this.#answeredAt,
    };
  }

  start(): void {
    const { spawn, begin, nowMs } = this.#parts;
    const child = spawn();
    this.#child = child;
    this.#state = 'starting';
    this.#stuck = false;
    this.#loaded = false;
    this.#readiness = undefined;
    this.#servingSince = undefined;
    this.#answeredAt = nowMs();
    child.on('message', (message) => this.#heard(message as FromWorker));
    // Of a message to a process that has just ended, or one that could not be started: `exit` or the error says so.
    child.on('error', (error) => this.#failed(child, error));
    child.once('exit', (code, signal) => this.#exited(child, code, signal));
    this.#say(begin());
  }

  /** To be called about once a second. */
  tick(): void {
    if (this.#child === undefined) return;
    const { nowMs, stuckMs, log, number } = this.#parts;
    const patienceMs = this.#loaded ? stuckMs : Math.max(LOADING_MS, stuckMs);
    if (nowMs() - this.#answeredAt > patienceMs && !this.#stuck) {
      this.#stuck = true;
      log.error({ worker: number }, 'a worker does not answer: it is killed (supervisor.stuckMs)');
      this.#child.kill('SIGKILL');
      return;
    }
    void this.ask('readiness', null, stuckMs).then((readiness) => {
      if (readiness !== undefined) this.#readiness = readiness;
    });
  }

  /** undefined: no answer within the time, or no process. Never rejects. */
  ask<W extends keyof Questions>(
    what: W,
    question: Questions[W][0],
    timeoutMs: number,
  ): Promise<Questions[W][1] | undefined> {
    if (this.#child === undefined) return Promise.resolve(undefined);
    const id = ++this.#questions;
    return new Promise((resolve) => {
      const answered = (answer: unknown) => {
        clearTimeout(late);
        this.#asking.delete(id);
        resolve(answer as Questions[W][1] | undefined);
      };
      const late = setTimeout(() => answered(undefined), timeoutMs);
      this.#asking.set(id, { answered });
      this.#say({ type: 'ask', id, what, question });
    });
  }

  /** There is no next process; one that serves goes on. */
  retire(): void {
    this.#stopping = true;
    clearTimeout(this.#restart);
    if (this.#child === undefined) this.#state = 'ended';
    // It has no clients yet, and may not have come to read the channel.
    else if (this.#state === 'starting') this.#child.kill('SIGKILL');
  }

  /** Its clients are sent away, and it goes on. */
  drain({ reason, deadlineMs }: Leaving): void {
    if (this.#state === 'serving') this.#say({ type: 'drain', reason, deadlineMs });
  }

  /** Its clients are sent away, and it ends; there is no next process. */
  stop(fast: boolean): void {
    this.retire();
    if (this.#state === 'serving') this.#say({ type: 'stop', fast });
  }

  /** At once. */
  kill(): void {
    this.#stopping = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #say(message: ToWorker): void {
    if (this.#child?.connected !== true) return;
    this.#child.send(message, () => {
      // It has ended meanwhile: `exit` says so.
    });
  }

  #heard(message: FromWorker): void {
    this.#answeredAt = this.#parts.nowMs();
    this.#loaded = true;
    if (message.type === 'answer') {
      this.#asking.get(message.id)?.answered(message.answer);
      return;
    }
    if (message.type === 'leaving') return this.#parts.leaving(message);
    this.#state = 'serving';
    this.#servingSince = this.#parts.nowMs();
    this.#parts.listening(message.listen, this.#child?.pid);
  }

  #failed(child: ChildProcess, error: Error): void {
    this.#parts.log.error({ err: error, worker: this.number }, 'the process of a worker has failed');
    if (child.pid === undefined) this.#exited(child, null, null);
  }

  #exited(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    for (const { answered } of [...this.#asking.values()]) answered(undefined);
    const cause = this.#causeOf(signal);
    if (this.#stopping) {
      this.clean = code === 0 || this.#state === 'starting';
      this.#state = 'ended';
    } else this.#startLater(code, signal);
    this.#parts.ended(cause, code);
  }

  #causeOf(signal: NodeJS.Signals | null): EndCause {
    if (this.#stuck) return 'stuck';
    return signal === null ? 'exit' : 'signal';
  }

  #startLater(code: number | null, signal: NodeJS.Signals | null): void {
    const { backoff, nowMs, log, number } = this.#parts;
    const servedMs = this.#servingSince === undefined ? 0 : nowMs() - this.#servingSince;
    const pauseMs = Math.round(backoff.pauseMs(servedMs));
    this.#state = 'restarting';
    this.#restartAt = nowMs() + pauseMs;
    this.#restart = setTimeout(() => this.start(), pauseMs);
    log.error(
      { worker: number, code, signal, servedMs: Math.round(servedMs), pauseMs },
      'a worker has ended: started again after a pause',
    );
  }
}
