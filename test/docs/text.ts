/** Names of things that a Markdown text says, by where it says them as code. */

export interface Claim {
  readonly name: string;
  readonly line: number;
}

/** Inline code and the lines of code blocks, without what is a comment there. */
export function codeOf(text: string): readonly Claim[] {
  const found: Claim[] = [];
  let fenced = false;
  text.split('\n').forEach((whole, at) => {
    const line = at + 1;
    if (/^\s*```/.test(whole)) fenced = !fenced;
    else if (fenced) found.push({ name: whole.replace(/\s#.*$/, '').replace(/^\s*[$>] /, ''), line });
    else for (const [, name = ''] of whole.matchAll(/`([^`]+)`/g)) found.push({ name, line });
  });
  return found;
}

/** What a pattern matches anywhere in the text, also in prose: its first group, or all of it. */
export function everywhere(pattern: RegExp): (text: string) => readonly Claim[] {
  return (text) =>
    text
      .split('\n')
      .flatMap((line, at) =>
        [...line.matchAll(pattern)].map(([all, group]) => ({ name: group ?? all, line: at + 1 })),
      );
}

export const metricsIn = everywhere(/(?<![\w$])carillon[_:][a-z0-9_:]*[a-z0-9](?![\w*]|…)/g);

/** `carillon WORD …` and the same by `node dist/cli.js`: alone, in another container, or as `$(…)`. */
export function commandsIn(text: string): readonly Claim[] {
  return codeOf(text).flatMap(({ name, line }) =>
    [...name.matchAll(/(?:^(?:[A-Z_]+=\S+ )*| -- |\$\()(?:carillon|node dist\/cli\.js) ([a-z][^|;)]*)/g)].map(
      ([, command = '']) => ({ name: command.trim(), line }),
    ),
  );
}

/** `section.key` as code, where the section is one of the settings. */
export function keysIn(text: string, sections: ReadonlySet<string>): readonly Claim[] {
  return codeOf(text).flatMap(({ name, line }) =>
    [...name.matchAll(/(?<![\w./@-])([a-z][A-Za-z]*)((?:\.[a-z][A-Za-z]*|\[\])+)(?![\w(/-]|\.\w)/g)]
      .filter(
        ([, section = '', rest = '']) =>
          sections.has(section) && !/\.(?:ts|js|mjs|jsonl?|yaml|md|png|py|svc)$/.test(rest),
      )
      .map(([key]) => ({ name: key.replaceAll('[]', ''), line })),
  );
}

/** `/admin/v1/…` and `/api/v1/…`, with parameters in braces or as values. */
export const pathsIn = everywhere(/\/(?:admin|api)\/v1(?:\/[\w{}@:%…*.-]+)+/g);

/** Relative links, with their anchors. */
export const linksIn = everywhere(/\]\((?!https?:)([^)\s]+)\)/g);

/** As GitHub makes them of headings. */
export function anchorsOf(text: string): ReadonlySet<string> {
  const headings = [...text.replace(/```[\s\S]*?```/g, '').matchAll(/^#+ (.+)$/gm)];
  return new Set(
    headings.map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}
