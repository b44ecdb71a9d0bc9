/** What of a log is left out, so that one kind of trouble of many connections does not bury everything else. */
export interface LeftOut {
  readonly message: string;
  readonly code: string;
  readonly count: number;
}

const WINDOW_MS = 1000;
/** Messages and codes are ours, and few. */
const KINDS = 1000;

interface Kind {
  readonly message: string;
  readonly code: string;
  count: number;
}

/** Lines with the same message and `code` within a second: so many are written, the rest are counted and told. */
export class Repeats {
  readonly #perSecond: number;
  readonly #nowMs: () => number;
  readonly #tell: (leftOut: LeftOut) => void;
  readonly #kinds = new Map<string, Kind>();
  #ends = 0;

  /** @param perSecond 0: everything is written */
  constructor(perSecond: number, nowMs: () => number, tell: (leftOut: LeftOut) => void) {
    this.#perSecond = perSecond;
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  /** What the line is, to the caller: to be written; not; not, and the first one in this second, which `end` has to follow. */
  next(message: string, code: string): 'write' | 'leave' | 'first' {
    if (this.#perSecond === 0) return 'write';
    const now = this.#nowMs();
    if (now >= this.#ends) {
      this.end();
      this.#ends = now + WINDOW_MS;
    }
    const kind = this.#kind(message, code);
    kind.count++;
    if (kind.count <= this.#perSecond) return 'write';
    return kind.count === this.#perSecond + 1 ? 'first' : 'leave';
  }

  /** Tells what has been left out since the last time. */
  end(): void {
    const kinds = [...this.#kinds.values()];
    this.#kinds.clear();
    for (const { message, code, count } of kinds)
      if (count > this.#perSecond) this.#tell({ message, code, count: count - this.#perSecond });
  }

  #kind(message: string, code: string): Kind {
    const key = this.#kinds.size < KINDS ? `${code} ${message}` : '';
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = { message: key === '' ? 'others' : message, code: key === '' ? '' : code, count: 0 };
      this.#kinds.set(key, kind);
    }
    return kind;
  }
}
