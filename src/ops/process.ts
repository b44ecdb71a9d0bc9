/** What the operating system and V8 know of this process. Read when Prometheus asks. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import process from 'node:process';
import { Histogram } from '../broker/tally.ts';

/**
 * NaN where there is no /proc, or where descriptors have run out and it cannot be opened. Linux 6.2 and later say
 * it in one stat; listing 15,000 entries was measured to hold the loop for 48 ms.
 */
export async function openDescriptors(): Promise<number> {
  try {
    const { size } = await stat('/proc/self/fd');
    return size > 0 ? size : (await readdir('/proc/self/fd')).length;
  } catch (error) {
    if (isSystemError(error)) return Number.NaN;
    throw error;
  }
}

/** The soft limit, infinite where there is none; NaN where it cannot be read. */
export async function maxDescriptors(): Promise<number> {
  try {
    const soft = /^Max open files\s+(\S+)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1];
    return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
  } catch (error) {
    if (isSystemError(error)) return Number.NaN;
    throw error;
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

export type MemoryKind = 'resident' | 'heap_used' | 'heap_total' | 'external';

/** Bytes. NaN when descriptors have run out: reading the resident size needs one, and Node throws (uv EMFILE). */
export function memory(): Record<MemoryKind, number> {
  try {
    const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
    return { resident: rss, heap_used: heapUsed, heap_total: heapTotal, external };
  } catch (error) {
    if (isSystemError(error)) return { resident: NaN, heap_used: NaN, heap_total: NaN, external: NaN };
    throw error;
  }
}

export function cpuSeconds(): { readonly user: number; readonly system: number } {
  const { user, system } = process.cpuUsage();
  return { user: user / 1e6, system: system / 1e6 };
}

/** Seconds since 1970. */
export function startedAtSeconds(): number {
  return performance.timeOrigin / 1000;
}

export function nodeVersion(): string {
  return process.version;
}

export const GC_KINDS = ['minor', 'major', 'incremental', 'weakcb'] as const;
export type GcKind = (typeof GC_KINDS)[number];

const KIND_OF: ReadonlyMap<number, GcKind> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
]);

/** From a scavenge of a small heap to what clients feel. */
export const PAUSE_BOUNDS_MS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000];

/** Counts the pauses of the garbage collector. */
export class GcMeter {
  readonly seconds: Record<GcKind, number> = { minor: 0, major: 0, incremental: 0, weakcb: 0 };
  readonly runs: Record<GcKind, number> = { minor: 0, major: 0, incremental: 0, weakcb: 0 };
  readonly pauses = new Histogram(PAUSE_BOUNDS_MS);
  readonly #observer: PerformanceObserver;

  constructor() {
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) this.#count(entry);
    });
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  close(): void {
    this.#observer.disconnect();
  }

  #count(entry: PerformanceEntry): void {
    const { kind } = (entry as PerformanceEntry & { readonly detail: { readonly kind: number } }).detail;
    const name = KIND_OF.get(kind);
    if (name === undefined) return;
    this.seconds[name] += entry.duration / 1000;
    this.runs[name]++;
    this.pauses.observe(entry.duration);
  }
}

export function processSummary(): object {
  const { resident, heap_used: heapUsed } = memory();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    uptimeSeconds: Math.round(process.uptime()),
    resident,
    heapUsed,
    cpuSeconds: cpuSeconds(),
  };
}
