import { existsSync, readdirSync, readFileSync } from 'node:fs';

export interface PageAsset {
  readonly status: number;
  /** Content-Type. */
  readonly type: string;
  readonly body: string;
}

/** What browsers may have of the build: the page, and the SDK as the plain modules that tsc made. */
const FOLDERS = ['client', 'protocol', 'page'] as const;

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

const NOT_BUILT: PageAsset = {
  status: 503,
  type: 'text/plain; charset=utf-8',
  body: 'The page is not built. Run: npm run build\n',
};

let loaded: ReadonlyMap<string, PageAsset> | undefined;

/**
 * The file behind a path of the public listener: `/`, `/page/*` and `/sdk/*`. undefined: none. All files are
 * read at the first call, so that a request never touches the disk and no path can lead out of the build.
 */
export function pageAsset(path: string): PageAsset | undefined {
  loaded ??= load();
  return loaded.get(path);
}

function load(): ReadonlyMap<string, PageAsset> {
  const build = buildFolder();
  if (build === undefined) return new Map([['/', NOT_BUILT]]);
  const assets = new Map<string, PageAsset>();
  for (const folder of FOLDERS) {
    const files = new URL(`${folder}/`, build);
    for (const name of readdirSync(files)) {
      const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
      if (type === undefined) continue;
      const asset = { status: 200, type, body: readFileSync(new URL(name, files), 'utf8') };
      assets.set(addressOf(folder, name), asset);
    }
  }
  return assets;
}

/** Modules stay where their relative imports expect one another: all under /sdk/. */
function addressOf(folder: string, name: string): string {
  if (name === 'index.html') return '/';
  return name.endsWith('.js') ? `/sdk/${folder}/${name}` : `/${folder}/${name}`;
}

/** This module runs from dist/, or from src/ with the build beside it. */
function buildFolder(): URL | undefined {
  const candidates = [new URL('../', import.meta.url), new URL('../../dist/', import.meta.url)];
  return candidates.find(
    (folder) =>
      existsSync(new URL('page/index.html', folder)) && existsSync(new URL('client/index.js', folder)),
  );
}
