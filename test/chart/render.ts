/** The chart through a real helm, and what comes out as objects. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { helm } from '../support/chart-tools.ts';
import { run } from '../support/provide.ts';

export const ROOT = join(import.meta.dirname, '../..');
export const CHART = join(ROOT, 'helm/carillon');

/** The oldest Kubernetes that the chart is for. */
const KUBERNETES = ['--kube-version', '1.30.0'];

export const VALUE_SETS = readdirSync(join(CHART, 'ci')).sort();

export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  // The shapes of Kubernetes: the API server's own validation knows them, the tests take what they need.
  readonly [field: string]: unknown;
}

export type Rendered =
  | { readonly ok: true; readonly text: string; readonly manifests: readonly Manifest[] }
  | { readonly ok: false; readonly text: string };

/** A set of values of the chart, and which chart, where it is not the project's. */
type ValueSet = string | undefined | { readonly chart: string; readonly values: string };

const done = new Map<string, Promise<Rendered>>();

/**
 * The same question is asked of helm once.
 * @param sets `key=value`, as for --set
 */
export function render(valueSet: ValueSet, ...sets: readonly string[]): Promise<Rendered> {
  const key = JSON.stringify([valueSet, sets]);
  const result = done.get(key) ?? renderAnew(valueSet, sets);
  done.set(key, result);
  return result;
}

async function renderAnew(valueSet: ValueSet, sets: readonly string[]): Promise<Rendered> {
  const { chart, values: file } =
    typeof valueSet === 'object' ? valueSet : { chart: CHART, values: valueSet };
  const said = await called('template', ['carillon', chart, ...KUBERNETES, ...values(file, sets)]);
  if (!said.ok) return said;
  const manifests = parseAllDocuments(said.text)
    .map((document) => (document as { toJS(): unknown }).toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
  return { ...said, manifests };
}

export function lint(valueSet: string): Promise<{ readonly ok: boolean; readonly text: string }> {
  return called('lint', [CHART, '--strict', ...KUBERNETES, ...values(valueSet, [])]);
}

/** The manifests; fails the test with what helm says. */
export async function rendered(
  valueSet: string | undefined,
  ...sets: readonly string[]
): Promise<readonly Manifest[]> {
  const result = await render(valueSet, ...sets);
  if (!result.ok) throw new Error(result.text);
  return result.manifests;
}

/** The only one of its kind whose name ends so. */
export function the(manifests: readonly Manifest[], kind: string, ending = ''): Manifest {
  const found = manifests.filter((one) => one.kind === kind && one.metadata.name.endsWith(ending));
  if (found.length !== 1) throw new Error(`${found.length} of kind ${kind} (${ending})`);
  return found[0] as Manifest;
}

/** What is at a path such as `spec.template.spec`; undefined where there is nothing. */
export function at(manifest: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], manifest);
}

function values(valueSet: string | undefined, sets: readonly string[]): string[] {
  const file = valueSet === undefined ? [] : ['-f', join(CHART, 'ci', valueSet)];
  return [...file, ...sets.flatMap((set) => ['--set', set])];
}

async function called(
  command: string,
  args: readonly string[],
): Promise<{ ok: true; text: string } | { ok: false; text: string }> {
  const { path } = await helm();
  try {
    const { stdout } = await run(path, [command, ...args], { maxBuffer: 16 * 1024 * 1024 });
    return { ok: true, text: stdout };
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    return { ok: false, text: stdout + stderr };
  }
}
