/** The metrics of a broker, by name with labels as the exposition has them, without the prefix. */
export async function scrape({ host, port }) {
  const answer = await fetch(`http://${host}:${port}/metrics`);
  const text = await answer.text();
  const values = new Map();
  for (const line of text.split('\n')) {
    const match = /^carillon_(\S+(?:\{[^}]*\})?) (\S+)$/.exec(line);
    if (match !== null) values.set(match[1], Number(match[2]));
  }
  return values;
}

/** The sum over all labels. */
export function total(values, name) {
  let sum = 0;
  for (const [key, value] of values) if (key === name || key.startsWith(`${name}{`)) sum += value;
  return sum;
}
