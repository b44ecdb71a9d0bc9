import type { Config } from '../../config.ts';
import { memory } from './cgroup.ts';
import { type Finding, present } from './finding.ts';
import { acceptQueue, isAutomatic, tracking } from './kernel.ts';
import { Place } from './place.ts';

/** What a broker says of its machine at its start: what clients will notice. `carillon doctor` says more. */
export function startWarnings(config: Config, openFiles: number, root?: string): readonly Finding[] {
  const place = new Place(root);
  const wanted = !isAutomatic(config, openFiles);
  const critical = [acceptQueue(place), tracking(place, config, wanted), memory(place, config, wanted)];
  return present(critical).filter(({ status }) => status !== 'ok');
}
