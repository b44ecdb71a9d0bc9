/**
 * The settings: one YAML file, the environment on top of it, defaults below. Parsed once, checked as a whole, frozen.
 * config/carillon.yaml is their manual.
 */
import { basename, dirname } from 'node:path';
import { buildConfig } from './config/build.ts';
import { checkSettings, warningsFor } from './config/checks.ts';
import { type ParsedText, type Path, parseText, type Tree } from './config/document.ts';
import { overlay } from './config/environment.ts';
import { readIdentity } from './config/identity.ts';
import { readAdminToken, readSetting } from './config/keys.ts';
import { located, problemsOf } from './config/problems.ts';
import { settingsSchema } from './config/schema.ts';
import { readSchemas } from './config/schemas.ts';
import { readTls } from './config/tls.ts';
import type { ConfigInput, ConfigProblem, ConfigResult } from './config/types.ts';
import { VERSION } from './config/version.ts';

export { parsePolicy } from './config/tenants.ts';
export type * from './config/types.ts';
export { showAddress } from './config/units.ts';
export { VERSION } from './config/version.ts';

/** Reads the file, where one is given, and the files that it names; nothing else is touched. */
export function loadConfig(input: ConfigInput): ConfigResult {
  const file = input.file ?? input.env['CARILLON_CONFIG'];
  const text = readText(input, file);
  if ('key' in text) return refused([text]);
  const { tree } = text;
  const environment = overlay(tree, input.env);
  const sourceOf = (path: Path) => environment.sourceOf(path) ?? text.sourceOf(path);
  const parsed = settingsSchema.safeParse(tree);
  if (!parsed.success) return refused([...environment.problems, ...problemsOf(parsed.error, tree, sourceOf)]);

  const base = file ? dirname(file) : '.';
  const { settings, faults: misfits } = readSchemas(parsed.data, base);
  const { auth, faults } = readIdentity(settings, base);
  const admin = readAdminToken(settings.admin, base);
  const tls = readTls(settings.tls, base);
  const machine = { openFiles: finite(input.openFiles) };
  const found = [
    ...misfits,
    ...faults,
    ...tls.faults,
    ...('path' in admin ? [admin] : []),
    ...checkSettings(settings, auth, machine),
  ];
  const problems = [
    ...environment.problems,
    ...found.map(({ path, ...fault }) => located(path, fault, sourceOf)),
  ];
  if (problems.length > 0 || 'path' in admin) return refused(problems);
  const secrets = { auth, ...admin, ...(tls.tls && { tls: tls.tls }) };
  const warnings = [...environment.warnings, ...warningsFor(settings, secrets, machine)];
  const config = buildConfig(settings, secrets, { ...machine, version: VERSION });
  return { ok: true, config, warnings };
}

function readText(
  input: ConfigInput,
  file: string | undefined,
): (ParsedText & { tree: Tree }) | ConfigProblem {
  const name = file ? basename(file) : 'config';
  const read =
    input.text === undefined && file ? readSetting(file, '.') : { ok: true as const, text: input.text ?? '' };
  if (!read.ok)
    return { key: 'config file', value: JSON.stringify(file), expected: `a readable file (${read.code})` };
  const parsed = parseText(read.text, name);
  return parsed.ok ? parsed : parsed.problem;
}

/** No limit, or one that nobody could read, is no limit to hold connections against. */
function finite(openFiles: number | undefined): number | undefined {
  return openFiles !== undefined && Number.isFinite(openFiles) ? openFiles : undefined;
}

function refused(problems: readonly ConfigProblem[]): ConfigResult {
  return { ok: false, problems };
}
