/** Sizes and durations as a person writes them in the settings. */
const SIZES = [
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
] as const;

const DURATIONS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

export function showSize(bytes: number): string {
  return largestUnit(bytes, SIZES) ?? `${bytes}`;
}

export function showDuration(ms: number): string {
  return largestUnit(ms, DURATIONS) ?? `${ms}ms`;
}

/** In the largest unit of which it is a whole number. */
function largestUnit(
  amount: number,
  units: readonly (readonly [name: string, unit: number])[],
): string | undefined {
  for (const [name, unit] of units)
    if (amount >= unit && amount % unit === 0) return `${amount / unit}${name}`;
  return undefined;
}
