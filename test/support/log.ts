import type { Log } from '../../src/broker/ports.ts';

/** For tests in which listeners throw on purpose. */
export const QUIET: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
