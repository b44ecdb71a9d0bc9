import { availableParallelism } from 'node:os';
import type { Config } from './types.ts';

/** How many broker processes there are to be. */
export function workersOf({ workers }: Pick<Config, 'workers'>): number {
  return workers === 'auto' ? availableParallelism() : workers;
}
