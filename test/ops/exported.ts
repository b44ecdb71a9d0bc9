import { exposition } from '../../scripts/metrics.ts';
import { parseExposition } from './exposition.ts';

/** Everything that a broker on NATS can export: by sample, the values that each label has at the first scrape. */
export async function exported(): Promise<ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>> {
  return labelsOf(await exposition());
}

function labelsOf(text: string): Map<string, Map<string, Set<string>>> {
  const known = new Map<string, Map<string, Set<string>>>();
  for (const [family, { samples }] of parseExposition(text)) {
    for (const sample of [family, ...samples.keys()]) {
      const [name = '', rest = ''] = sample.split('{', 2);
      const labels = known.get(name) ?? new Map<string, Set<string>>();
      known.set(name, labels);
      for (const [, label = '', value = ''] of rest.matchAll(/([a-z_]+)="([^"]*)"/g))
        labels.set(label, (labels.get(label) ?? new Set()).add(value));
    }
  }
  return known;
}
