/** The dashboard is one that the picture shows as it is. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { expressionOf, linesOf, type Panel, page, shown } from '../../loadtest/dashboard/draw.ts';

const { panels } = JSON.parse(
  readFileSync(new URL('../../config/grafana/carillon.json', import.meta.url), 'utf8'),
) as { readonly panels: readonly Panel[] };

test('panels are of kinds and units that the picture knows, each in a place of its own', () => {
  const taken = new Map<string, string>();
  for (const { type, title, gridPos, targets, fieldConfig } of panels) {
    assert.ok(['row', 'stat', 'timeseries'].includes(type), title);
    assert.equal(type === 'row', targets === undefined || targets.length === 0, title);
    const { unit = 'short' } = fieldConfig?.defaults ?? {};
    assert.ok(['short', 'percentunit', 's', 'bytes', 'Bps', 'ops', 'reqps'].includes(unit), unit);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24, title);
        assert.equal(taken.get(`${x} ${y}`), undefined, title);
        taken.set(`${x} ${y}`, title);
      }
  }
});

test('the variables of the dashboard stand for everything', () => {
  for (const target of panels.flatMap(({ targets = [] }) => targets))
    assert.doesNotMatch(expressionOf(target, 10), /\$/);
  const expr = 'rate(a{job=~"$job"}[$__rate_interval])';
  assert.equal(expressionOf({ expr }, 10), 'rate(a{job=~".*"}[10s])');
});

test('a panel shows its series under their names, and says where there are none', () => {
  const [chart] = panels.filter(({ type }) => type === 'timeseries') as [Panel];
  const values = [[1, '2'] as const, [2, 'NaN'] as const, [3, '5e3'] as const];
  const lines = linesOf({ expr: 'a', legendFormat: '{{instance}} in' }, [
    { metric: { instance: '<a>' }, values },
  ]);
  assert.deepEqual(lines, [
    {
      name: '<a> in',
      points: [
        [1, 2],
        [3, 5000],
      ],
    },
  ]);
  const html = page('Carillon', 'note', [[chart, lines]]);
  assert.match(html, /<polyline points="[\d., ]+"/);
  assert.match(html, /&lt;a> in/);
  assert.match(html, />5k</);
  assert.match(page('Carillon', 'note', [[chart, []]]), /No data/);
});

test('values as people read them', () => {
  assert.deepEqual(
    [
      shown(0),
      shown(1234),
      shown(2.5e6, 'bytes'),
      shown(0.0123, 's'),
      shown(7200, 's'),
      shown(0.05, 'percentunit'),
    ],
    ['0', '1.23k', '2.5 MB', '12.3 ms', '120 min', '5 %'],
  );
});
