import type { ConfigProblem } from './types.ts';

/** Problems as a person reads them, several lines each; ends with a newline. */
export function reportProblems(problems: readonly ConfigProblem[]): string {
  const [count, noun] = [problems.length, problems.length === 1 ? 'problem' : 'problems'];
  return `carillon: ${count} ${noun} in the configuration\n${problems.map(describe).join('')}`;
}

function describe({ key, value, expected, fix, source }: ConfigProblem): string {
  const lines = [
    `  ${key}${source === undefined || source === key ? '' : ` (${source})`}`,
    `    value:    ${value}`,
    `    expected: ${expected}`,
    ...(fix === undefined ? [] : [`    fix:      ${fix}`]),
  ];
  return `\n${lines.join('\n')}\n`;
}
