/** Alerts, dashboard and runbook agree with one another and with what the broker exports. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { FIGURE_NAMES } from '../../src/ops/figures.ts';
import { exported } from './exported.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const { groups } = parse(read('config/alerts/carillon.yaml')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);
const recorded = new Set(rules.map(({ record }) => record));

/** Every `expr` of the dashboard. */
function dashboardExpressions(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(dashboardExpressions);
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) =>
    key === 'expr' && typeof value === 'string' ? [value] : dashboardExpressions(value),
  );
}

/** What an expression asks for that nobody gives: a metric, a recorded series, or a value of a closed label. */
function strangers(expr: string, known: Awaited<ReturnType<typeof exported>>): string[] {
  const wrong: string[] = [];
  for (const [, name = ''] of expr.matchAll(/\b(carillon:[a-z0-9_:]+)/g))
    if (!recorded.has(name)) wrong.push(name);
  for (const [, name = '', selector = ''] of expr.matchAll(/\b(carillon_[a-z0-9_]+)(?:\{([^}]*)\})?/g)) {
    const values = known.get(name);
    if (values === undefined) wrong.push(name);
    for (const [, label = '', text = ''] of selector.matchAll(/([a-z_]+)=~?"([^"]*)"/g)) {
      if (text.startsWith('$')) continue;
      const wanted = text.split('|').filter((value) => !values?.get(label)?.has(value));
      wrong.push(...wanted.map((value) => `${name}{${label}="${value}"}`));
    }
  }
  return wrong;
}

test('alerts and dashboard ask for nothing that the broker does not export', async () => {
  const known = await exported();
  const board = dashboardExpressions(JSON.parse(read('config/grafana/carillon.json')));
  assert.ok(board.length > 30, String(board.length));
  for (const expr of [...rules.map((rule) => rule.expr), ...board]) {
    assert.deepEqual(strangers(expr, known), [], expr);
  }
});

test('the check finds a metric, a label value and a record that are not there', async () => {
  const known = await exported();
  assert.deepEqual(strangers('rate(carillon_conections[5m])', known), ['carillon_conections']);
  assert.deepEqual(strangers('carillon_upgrades_total{outcome=~"accepted|lost"}', known), [
    'carillon_upgrades_total{outcome="lost"}',
  ]);
  assert.deepEqual(strangers('carillon:nothing:sum > 1', known), ['carillon:nothing:sum']);
  assert.deepEqual(strangers(`sum(carillon_bus_${FIGURE_NAMES[0]})`, known), []);
});

/** What somebody who has just been woken looks for, in this order. */
const PARTS = ['Symptom', 'Query', 'Causes', 'Commands', 'Rollback'];

/** The pages without one of the parts, or with an empty one. */
function incomplete(runbook: string): string[] {
  return runbook
    .split(/^## /m)
    .slice(1)
    .filter((page) => {
      const parts = [...page.matchAll(/^- \*\*(\w+)\.\*\* \S/gm)].map(([, part]) => part);
      return parts.join() !== PARTS.join();
    })
    .map((page) => page.split('\n', 1)[0] ?? '');
}

test('every page of the runbook has symptom, query, causes, commands and rollback', () => {
  const runbook = read('docs/operations/alerts.md');
  assert.deepEqual(incomplete(runbook), []);
  assert.deepEqual(incomplete(runbook.replace('- **Causes.** NATS is away,', 'NATS is away,')), [
    'CarillonBusDown',
  ]);
  for (const [, query = ''] of runbook.matchAll(/\*\*Query\.\*\* ([^\n]*)/g)) assert.match(query, /`[^`]+`/);
});

test('every alert has a severity, a page in the runbook, and a test in which it fires', () => {
  const runbook = read('docs/operations/alerts.md');
  const tests = read('config/alerts/carillon.test.yaml');
  for (const { alert = '', labels, annotations } of alerts) {
    assert.match(labels?.['severity'] ?? '', /^(page|ticket)$/, alert);
    assert.ok(annotations?.['summary'], alert);
    assert.equal(annotations?.['runbook'], `docs/operations/alerts.md#${alert.toLowerCase()}`);
    assert.ok(runbook.includes(`\n## ${alert}\n`), alert);
    assert.ok(tests.includes(`{alertname="${alert}"`), alert);
  }
  const headings = [...runbook.matchAll(/^## (\w+)$/gm)].map(([, name]) => name);
  assert.deepEqual(
    headings,
    alerts.map(({ alert }) => alert),
    'the runbook has the alerts in their order',
  );
});
