import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Finding } from '../../src/app/doctor/finding.ts';
import { type Config, loadConfig } from '../../src/config.ts';

/** A folder with these files, in the place of `/`. */
export function machine(t: Pick<TestContext, 'after'>, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'carillon-doctor-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), `${text}\n`);
  }
  return root;
}

export const SECRET = 'a secret of the tests that is long enough for any use';

export function configOf(text: string, openFiles = 200_000): Config {
  const loaded = loadConfig({ env: { CARILLON_JWT_SECRET: SECRET }, text, openFiles });
  assert.ok(loaded.ok, JSON.stringify(loaded));
  return loaded.config;
}

/** The findings of one check, as `status says`. */
export function told(findings: readonly (Finding | undefined)[], check: string): string[] {
  return findings.flatMap((each) => (each?.check === check ? [`${each.status} ${each.says}`] : []));
}

/** Whatever is not well says how to mend it. */
export function assertFixes(findings: readonly Finding[]): void {
  for (const { check, status, fix } of findings) assert.equal(fix !== undefined, status !== 'ok', check);
}
