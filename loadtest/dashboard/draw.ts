/** The panels of the Grafana dashboard as a page, drawn from series. As much of Grafana as config/grafana uses. */
import type { Series } from './prometheus.ts';

export interface Target {
  readonly expr: string;
  readonly legendFormat?: string;
}

export interface Panel {
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit?: string;
      readonly min?: number;
      readonly custom?: { readonly stacking?: { readonly mode: string } };
    };
  };
  readonly targets?: readonly Target[];
}

/** A series under the name that the legend has for it. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

/** Grafana's grid of 24 columns, smaller than on a screen. */
const COLUMN = 44;
const ROW = 27;
const GAP = 8;
const WIDTH = 24 * COLUMN;
const COLOURS = ['#7eb26d', '#eab839', '#6ed0e0', '#ef843c', '#e24d42', '#1f78c1', '#ba43a9', '#705da0'];

/** What stands for the variables of the dashboard, and for the range that a rate is taken over. */
export function expressionOf({ expr }: Target, rateSeconds: number): string {
  return expr.replaceAll('$__rate_interval', `${rateSeconds}s`).replaceAll(/"\$\w+"/g, '".*"');
}

export function linesOf({ legendFormat = '' }: Target, series: readonly Series[]): Line[] {
  return series.map(({ metric, values }) => ({
    name: legendFormat.replaceAll(/\{\{\s*(\w+)\s*\}\}/g, (_, label: string) => metric[label] ?? ''),
    points: values
      .map(([at, value]) => [at, Number(value)] as const)
      .filter(([, value]) => !Number.isNaN(value)),
  }));
}

export function page(title: string, note: string, panels: readonly [Panel, readonly Line[]][]): string {
  const height = Math.max(...panels.map(([{ gridPos }]) => gridPos.y + gridPos.h)) * ROW + 60;
  const boxes = panels.map(([panel, lines]) => box(panel, lines)).join('\n');
  return `<!doctype html><meta charset="utf-8"><style>
body{margin:0;width:${WIDTH}px;height:${height}px;position:relative;background:#111217;color:#ccccdc;font:12px "DejaVu Sans",sans-serif}
h1{font-size:18px;margin:0;padding:14px 10px 0}h1 small{font-size:11px;color:#8e8e99;font-weight:normal;padding-left:12px}
.panel{position:absolute;background:#181b1f;border:1px solid #25282d;overflow:hidden}.panel h2{font-size:12px;margin:6px 8px;font-weight:500}
.row{position:absolute;font-size:14px;font-weight:500;padding:6px 4px}.stat{font-size:44px;text-align:center;margin-top:40px;color:#7eb26d}
.legend{position:absolute;left:8px;right:8px;bottom:4px;height:30px;overflow:hidden;font-size:10px;line-height:14px}
.legend i{display:inline-block;width:10px;height:3px;margin:0 4px 3px 0}.legend span{margin-right:10px;white-space:nowrap}
.none{color:#6e6e79;text-align:center;margin-top:55px}svg text{fill:#8e8e99;font-size:10px}
</style><h1>${escaped(title)}<small>${escaped(note)}</small></h1>${boxes}`;
}

function box(panel: Panel, lines: readonly Line[]): string {
  const { x, y, w, h } = panel.gridPos;
  const place = `left:${x * COLUMN + GAP / 2}px;top:${y * ROW + 48}px;width:${w * COLUMN - GAP}px;height:${h * ROW - GAP}px`;
  if (panel.type === 'row') return `<div class="row" style="${place}">${escaped(panel.title)}</div>`;
  const body = panel.type === 'stat' ? stat(panel, lines) : chart(panel, lines);
  return `<div class="panel" style="${place}"><h2>${escaped(panel.title)}</h2>${body}</div>`;
}

function stat({ fieldConfig }: Panel, [line]: readonly Line[]): string {
  const value = line?.points.at(-1)?.[1];
  if (value === undefined) return '<div class="none">No data</div>';
  return `<div class="stat">${shown(value, fieldConfig?.defaults.unit)}</div>`;
}

function chart(panel: Panel, found: readonly Line[]): string {
  const lines = found.filter(({ points }) => points.length > 0);
  if (lines.length === 0) return '<div class="none">No data</div>';
  const { unit, min, custom } = panel.fieldConfig?.defaults ?? {};
  const drawn = custom?.stacking?.mode === 'normal' ? stacked(lines) : lines;
  const [width, height, left, top] = [panel.gridPos.w * COLUMN - 30, panel.gridPos.h * ROW - 100, 52, 6];
  const times = drawn.flatMap(({ points }) => points.map(([at]) => at));
  const values = drawn.flatMap(({ points }) => points.map(([, value]) => value));
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const low = Math.min(min ?? Math.min(...values), ...values);
  const highest = Math.max(...values);
  // A flat line stands at the bottom.
  const high = highest > low ? highest : low + (low === 0 ? 1 : Math.abs(low));
  const atX = (at: number): number => left + ((at - from) / Math.max(1, to - from)) * (width - left);
  const atY = (value: number): number => top + (1 - (value - low) / (high - low)) * (height - top);
  const grid = [0, 0.5, 1].map((part) => {
    const value = low + part * (high - low);
    const y = atY(value).toFixed(1);
    return `<line x1="${left}" x2="${width}" y1="${y}" y2="${y}" stroke="#25282d"/><text x="${left - 4}" y="${Number(y) + 3}" text-anchor="end">${shown(value, unit)}</text>`;
  });
  const curves = drawn.map(({ points }, at) => {
    const path = points.map(([x, y]) => `${atX(x).toFixed(1)},${atY(y).toFixed(1)}`).join(' ');
    return `<polyline points="${path}" fill="none" stroke="${colour(at)}" stroke-width="1.3"/>`;
  });
  return `<svg width="${width + 10}" height="${height + 6}" style="margin-left:4px">${grid.join('')}${curves.join('')}</svg>${legend(lines)}`;
}

/** Each line on top of those before it, at the times that they share. */
function stacked(lines: readonly Line[]): Line[] {
  const sums = new Map<number, number>();
  return lines.map(({ name, points }) => ({
    name,
    points: points.map(([at, value]) => {
      const sum = (sums.get(at) ?? 0) + value;
      sums.set(at, sum);
      return [at, sum] as const;
    }),
  }));
}

function legend(lines: readonly Line[]): string {
  const names = lines.map(
    ({ name }, at) => `<span><i style="background:${colour(at)}"></i>${escaped(name)}</span>`,
  );
  return `<div class="legend">${names.join('')}</div>`;
}

function colour(at: number): string {
  return COLOURS[at % COLOURS.length] as string;
}

const STEPS: readonly (readonly [number, string])[] = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
];
const SECONDS: readonly (readonly [number, string])[] = [
  [86_400, 'd'],
  [60, 'min'],
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
];
const SUFFIX: Readonly<Record<string, string>> = { bytes: 'B', Bps: 'B/s', ops: '/s', reqps: '/s' };

export function shown(value: number, unit = 'short'): string {
  if (unit === 'percentunit') return `${trimmed(value * 100)} %`;
  if (unit === 's') return scaled(value, SECONDS, ' ').trim();
  const suffix = SUFFIX[unit];
  return suffix === undefined ? scaled(value, STEPS) : scaled(value, STEPS, ' ') + suffix;
}

function scaled(value: number, steps: readonly (readonly [number, string])[], gap = ''): string {
  const [size, name] = steps.find(([step]) => Math.abs(value) >= step) ?? [1, ''];
  return `${trimmed(value / size)}${gap}${name}`;
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
