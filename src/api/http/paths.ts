import type { Route } from './route.ts';

interface Pattern {
  readonly regex: RegExp;
  readonly names: readonly string[];
  readonly routes: Route[];
}

export interface Found {
  readonly routes: readonly Route[];
  readonly params: Readonly<Record<string, string>>;
}

/** Routes by path. There are a few dozen: a look at each costs less than anything cleverer is worth. */
export class PathTree {
  readonly #patterns = new Map<string, Pattern>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const pattern = this.#patterns.get(route.path) ?? patternOf(route.path);
      if (pattern.routes.some(({ method }) => method === route.method))
        throw new Error(`two routes for ${route.method} ${route.path}`);
      pattern.routes.push(route);
      this.#patterns.set(route.path, pattern);
    }
  }

  /** undefined: no route has the path, or a parameter in it is no UTF-8 in percent-encoding. */
  find(path: string): Found | undefined {
    for (const { regex, names, routes } of this.#patterns.values()) {
      const match = regex.exec(path);
      if (match === null) continue;
      const values = match.slice(1).map(decoded);
      if (values.includes(undefined)) return undefined;
      const params = Object.fromEntries(names.map((name, at) => [name, values[at] as string]));
      return { routes, params };
    }
    return undefined;
  }
}

function patternOf(path: string): Pattern {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] as string);
  const source = path.replace(/[.]/g, '\\.').replace(/\{\w+\}/g, '([^/]+)');
  return { regex: new RegExp(`^${source}$`), names, routes: [] };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
