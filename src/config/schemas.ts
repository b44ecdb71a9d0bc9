/** The `schema` of rooms and the `schemas` of tenants: files read, and every one compiled before the broker is built. */
import { type Fault, readSetting } from './keys.ts';
import { compileSchema } from './payload-schema.ts';
import type { Settings } from './schema.ts';
import type { SchemaSetting } from './schema-fields.ts';
import { isTree, type Path, type Tree } from './tree.ts';

/** The same settings with every file in its place as `inline`, and what is wrong with any of them. */
export function readSchemas(settings: Settings, base: string): { settings: Settings; faults: Fault[] } {
  const faults: Fault[] = [];
  const { schemas: limits } = settings.limits;
  const read = <S extends SchemaSetting>(schema: S, path: Path): S => {
    const found = sourceOf(schema, base);
    if ('expected' in found) faults.push({ ...found, path: [...path, ...found.path] });
    else {
      const compiled = compileSchema(found.inline, limits);
      const at = [...path, schema.file === undefined ? 'inline' : 'file'];
      const value = schema.file === undefined ? 'a mapping' : JSON.stringify(schema.file);
      if (!compiled.ok)
        faults.push({ path: at, value, expected: `a JSON Schema; this one ${compiled.problem}` });
    }
    return 'inline' in found ? { ...schema, file: undefined, inline: found.inline } : schema;
  };
  const rooms = settings.rooms.map((room, at) =>
    room.schema === undefined ? room : { ...room, schema: read(room.schema, ['rooms', at, 'schema']) },
  );
  const tenants = Object.entries(settings.tenants).map(([name, tenant]) => {
    if (tenant.schemas === undefined) return [name, tenant] as const;
    const path = ['tenants', name, 'schemas'];
    return [
      name,
      { ...tenant, schemas: tenant.schemas.map((each, at) => read(each, [...path, at])) },
    ] as const;
  });
  return {
    settings: { ...settings, rooms, tenants: Object.fromEntries(tenants) as Settings['tenants'] },
    faults,
  };
}

function sourceOf({ file, inline }: SchemaSetting, base: string): { readonly inline: Tree } | Fault {
  if ((file === undefined) === (inline === undefined)) {
    const value = file === undefined ? '(nothing)' : 'file and inline';
    return { path: [], value, expected: 'exactly one of file and inline' };
  }
  return inline === undefined ? fromFile(file ?? '', base) : { inline };
}

function fromFile(file: string, base: string): { readonly inline: Tree } | Fault {
  const fault = (expected: string): Fault => ({ path: ['file'], value: JSON.stringify(file), expected });
  const read = readSetting(file, base);
  if (!read.ok) return fault(`a readable file (${read.code})`);
  try {
    const value: unknown = JSON.parse(read.text);
    return isTree(value) ? { inline: value } : fault('a file with a JSON Schema, which is an object');
  } catch (error) {
    if (error instanceof SyntaxError) return fault('a file with a JSON Schema; this one is not JSON');
    throw error;
  }
}
