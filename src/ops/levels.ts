import type { Logger } from 'pino';
import type { Log } from '../broker/ports.ts';

/** A log whose lines about one tenant may be more, or fewer, than the others. */
export class TenantLevels implements Log {
  readonly #log: Logger;
  readonly #tenants = new Map<string, Logger>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `level` of a tenant; undefined: as everything else. */
  set(tenant: string, level: string | undefined): void {
    if (level === undefined) this.#tenants.delete(tenant);
    else this.#tenants.set(tenant, this.#log.child({}, { level }));
  }

  debug(fields: object, message: string): void {
    this.#of(fields).debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#of(fields).info(fields, message);
  }

  warn(fields: object, message: string): void {
    this.#of(fields).warn(fields, message);
  }

  error(fields: object, message: string): void {
    this.#of(fields).error(fields, message);
  }

  #of({ tenant }: { readonly tenant?: unknown }): Logger {
    return typeof tenant === 'string' ? (this.#tenants.get(tenant) ?? this.#log) : this.#log;
  }
}
