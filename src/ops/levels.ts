import type { Logger } from 'pino';
import type { Log } from '../broker/ports.ts';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** A log whose lines about one tenant may be more, or fewer, than the others. */
export class TenantLevels implements Log {
  readonly #log: Logger;
  /** Writes everything: whether it should is decided before. */
  readonly #all: Logger;
  readonly #levels = new Map<string, number>();

  constructor(log: Logger) {
    this.#log = log;
    this.#all = log.child({}, { level: 'trace' });
  }

  /** `level` of a tenant; undefined: as everything else. */
  set(tenant: string, level: string | undefined): void {
    if (level === undefined) this.#levels.delete(tenant);
    else this.#levels.set(tenant, LEVELS.indexOf(level));
  }

  debug(fields: object, message: string): void {
    this.#of(fields, 1)?.debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#of(fields, 2)?.info(fields, message);
  }

  warn(fields: object, message: string): void {
    this.#of(fields, 3)?.warn(fields, message);
  }

  error(fields: object, message: string): void {
    this.#of(fields, 4)?.error(fields, message);
  }

  #of(fields: { readonly tenant?: unknown }, level: number): Logger | undefined {
    if (this.#levels.size === 0 || typeof fields.tenant !== 'string') return this.#log;
    const from = this.#levels.get(fields.tenant);
    if (from === undefined) return this.#log;
    return level >= from ? this.#all : undefined;
  }
}
