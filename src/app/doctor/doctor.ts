/** `carillon doctor`: looks at all that a start depends on, and at what will hurt later. Changes nothing. */
import type { Log } from '../../broker/ports.ts';
import { lookAtNats } from '../../bus/nats/look.ts';
import { reportProblems } from '../../config/report.ts';
import type { Config, ConfigResult } from '../../config.ts';
import type { Runtime } from '../../transport/native.ts';
import { streamSettings } from '../bus.ts';
import { clock } from '../time.ts';
import { cpu, memory } from './cgroup.ts';
import { type Finding, fail, ok, present, warn } from './finding.ts';
import { identity } from './identity.ts';
import {
  acceptQueue,
  halfOpen,
  isAutomatic,
  openFiles,
  socketMemory,
  systemFiles,
  tracking,
} from './kernel.ts';
import { adminListener, certificates } from './listeners.ts';
import { nats } from './nats.ts';
import { Place } from './place.ts';
import { native, node } from './runtime.ts';

export interface Patient {
  readonly loaded: ConfigResult;
  readonly runtime: Runtime;
  /** The soft limit of this process; NaN: not known. */
  readonly openFiles: number;
  /** In the place of `/`, for /proc and /sys. */
  readonly root?: string;
  readonly log: Log;
}

export async function diagnose(patient: Patient): Promise<readonly Finding[]> {
  const { loaded, runtime, root } = patient;
  const place = new Place(root);
  const everywhere = [node(runtime), await native(runtime), acceptQueue(place), halfOpen(place)];
  const config = loaded.ok ? loaded.config : undefined;
  const found = [...settings(loaded), ...everywhere, cpu(place, config)];
  if (config === undefined) return present(found);
  const look = () => lookAtNats(streamSettings(config, patient.log));
  return present([
    ...found,
    ...sized(place, config, patient.openFiles),
    adminListener(config),
    ...certificates(config, clock.now()),
    ...(await identity(config)),
    ...(await nats(config, look)),
  ]);
}

function sized(place: Place, config: Config, files: number): readonly (Finding | undefined)[] {
  const wanted = !isAutomatic(config, files);
  return [
    openFiles(config, files),
    systemFiles(place, files),
    memory(place, config, wanted),
    tracking(place, config, wanted),
    wanted ? socketMemory(place, config) : undefined,
  ];
}

function settings(loaded: ConfigResult): readonly Finding[] {
  const check = 'settings';
  if (!loaded.ok) {
    const says = reportProblems(loaded.problems).trim();
    return [fail(check, says, 'carillon check-config, until it is content; config/carillon.yaml')];
  }
  if (loaded.warnings.length === 0) return [ok(check, 'good')];
  return loaded.warnings.map((text) => warn(check, text, 'config/carillon.yaml says what it is for'));
}
