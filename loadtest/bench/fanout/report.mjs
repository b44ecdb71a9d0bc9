import { median, table } from '../../support/stats.mjs';
import { ACCEPTANCE } from './targets.mjs';

const COLUMNS = ['perCpuSecond', 'cpuSeconds', 'busy', 'eventsPerFrame', 'bytesPerEvent'];

/** Medians per target, and per round the ratio to each bare server: neighbours in time share the machine's mood. */
export function summarise(scenario, running) {
  const targets = running.map(({ target, samples }) => ({
    name: target.name,
    label: target.label,
    ...Object.fromEntries(COLUMNS.map((column) => [column, median(samples.map((sample) => sample[column]))])),
    deliveriesPerSecond: median(samples.map(({ deliveries, seconds }) => deliveries / seconds)),
    published: samples.reduce((sum, { published }) => sum + published, 0),
    deliveries: samples.reduce((sum, { deliveries }) => sum + deliveries, 0),
    samples,
  }));
  const isBase = ({ target }) => target.join === undefined || target.name === scenario.base;
  const bares = running.filter(isBase).map(({ target }) => target.name);
  const ratios = {};
  for (const { name, samples } of targets) {
    ratios[name] = {};
    for (const bare of bares) {
      const other = targets.find((target) => target.name === bare).samples;
      ratios[name][bare] = median(
        samples.map((sample, round) => sample.perCpuSecond / other[round].perCpuSecond),
      );
    }
  }
  return {
    scenario: scenario.name,
    subscribers: scenario.subscribers,
    paced: scenario.paced,
    targets,
    ratios,
  };
}

export function markdown(results) {
  return results
    .map(({ scenario, targets, ratios }) => {
      const bares = Object.keys(Object.values(ratios)[0]);
      const head = ['target', 'M deliveries per CPU s', 'µs each', ...bares.map((bare) => `× ${bare}`)];
      const rest = ['M deliveries/s', 'server busy', 'events per frame', 'bytes per event'];
      const rows = targets.map((target) => [
        target.label,
        (target.perCpuSecond / 1e6).toFixed(2),
        (1e6 / target.perCpuSecond).toFixed(3),
        ...bares.map((bare) => ratios[target.name][bare].toFixed(2)),
        (target.deliveriesPerSecond / 1e6).toFixed(2),
        `${(target.busy * 100).toFixed(0)} %`,
        target.eventsPerFrame.toFixed(1),
        target.bytesPerEvent.toFixed(0),
      ]);
      return `### ${scenario}\n\n${table([[...head, ...rest], ...rows])}\n`;
    })
    .join('\n');
}

/** One verdict per promise whose scenario and targets ran. */
export function judge(results) {
  return ACCEPTANCE.flatMap(({ scenario, target = 'carillon', versus, atLeast }) => {
    const ratio = results.find((result) => result.scenario === scenario)?.ratios[target]?.[versus];
    if (ratio === undefined) return [];
    const ok = ratio >= atLeast;
    return [
      {
        scenario,
        versus,
        atLeast,
        ratio,
        ok,
        text: `${ok ? 'met' : 'MISSED'}: ${scenario}, ${target} / ${versus} = ${ratio.toFixed(2)}, wanted at least ${atLeast}`,
      },
    ];
  });
}
