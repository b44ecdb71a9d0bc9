/** The reconnect curve as SVG: bars of who came back in each second, restarts shaded, the bystanders' p99 below. */

const WIDTH = 960;
const LEFT = 64;
const RIGHT = 16;
const PANELS = [
  { top: 40, height: 200, label: 'reconnects a second', of: ({ back }) => back, colour: '#2563a8' },
  {
    top: 300,
    height: 120,
    label: 'bystanders, publish to receive, p99, ms',
    of: ({ latency }) => latency.p99,
    colour: '#b4540a',
  },
];
const HEIGHT = 460;

const text = (x, y, content, more = '') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;

/** 1, 2 or 5 times a power of ten, so that at most five lines are drawn. */
function stepFor(most) {
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

function panel({ top, height, label, of, colour }, rows, x) {
  const most = Math.max(1, ...rows.map(of));
  const step = stepFor(most);
  const y = (value) => top + height - (value / most) * height;
  const parts = [text(LEFT, top - 8, label)];
  for (let value = 0; value <= most; value += step)
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>`,
      text(LEFT - 6, y(value) + 4, `${value}`, 'text-anchor="end"'),
    );
  const wide = Math.max(1, x(1) - x(0) - 1);
  for (const row of rows)
    if (of(row) > 0)
      parts.push(
        `<rect x="${x(row.second).toFixed(1)}" y="${y(of(row)).toFixed(1)}" width="${wide.toFixed(1)}" height="${(top + height - y(of(row))).toFixed(1)}" fill="${colour}"/>`,
      );
  return parts;
}

export function picture(title, rows, { windows, startedAt }) {
  const seconds = rows.length;
  const x = (second) => LEFT + (second / seconds) * (WIDTH - LEFT - RIGHT);
  const bottom = PANELS.at(-1).top + PANELS.at(-1).height;
  const at = (time) => x((time - startedAt) / 1000);
  const shades = windows.flatMap(({ pod, from, endedAt, to }) => [
    `<rect x="${at(from)}" y="40" width="${at(to) - at(from)}" height="${bottom - 40}" fill="#eee"/>`,
    `<rect x="${at(from)}" y="40" width="${at(endedAt) - at(from)}" height="${bottom - 40}" fill="#f6dfc6"/>`,
    text(at(from) + 2, 262, `${pod}: drain, restart`, 'font-size="11"'),
  ]);
  const ticks = [];
  for (let second = 0; second <= seconds; second += stepFor(seconds * 2))
    ticks.push(text(x(second), bottom + 18, `${second} s`, 'text-anchor="middle"'));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">
<title>${title}</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
${text(LEFT, 16, title, 'font-size="14"')}
${[...shades, ...PANELS.flatMap((one) => panel(one, rows, x)), ...ticks].join('\n')}
</svg>
`;
}
