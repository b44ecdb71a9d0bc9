export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A markdown table that reads well as plain text too: the first column left, the others right. */
export function table([head, ...rows]) {
  const cells = [head, ...rows].map((row) => row.map(String));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)));
  const pad = (cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]));
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  const [top, ...body] = cells.map((row) => row.map(pad));
  return [top, rule, ...body].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Runs `task` for each of `all`, `atOnce` at a time. */
export async function inTurn(all, atOnce, task) {
  let next = 0;
  const runner = async () => {
    while (next < all.length) await task(all[next++]);
  };
  await Promise.all(Array.from({ length: atOnce }, runner));
}

/** How many, and what half, 99 of 100 and all are below. Of none: zeros. */
export function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { n: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
}
