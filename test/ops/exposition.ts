/** Reads the Prometheus text format, strictly: a line that does not fit is an error. */
export interface Family {
  readonly help: string;
  readonly type: string;
  /** By name and labels as written, `carillon_rooms` or `carillon_errors_total{code="internal"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const SAMPLE = /^([a-z_]+(?:\{([a-z]+="[^"\\\n]*")*\})?) (\S+)$/;

export function parseExposition(text: string): ReadonlyMap<string, Family> {
  const families = new Map<string, Family>();
  for (const block of text.trimEnd().split('\n\n')) {
    const [help = '', type = '', ...lines] = block.split('\n');
    const [, name = '', helpText = ''] = /^# HELP (\S+) (.+)$/.exec(help) ?? fail(help);
    const [, typed, kind = ''] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(type) ?? fail(type);
    if (typed !== name || families.has(name)) fail(block);
    families.set(name, {
      help: helpText,
      type: kind,
      samples: new Map(lines.map((line) => sampleOf(name, line))),
    });
  }
  return families;
}

function sampleOf(family: string, line: string): [string, number] {
  const [, key = '', , value = ''] = SAMPLE.exec(line) ?? fail(line);
  if (!key.startsWith(family)) fail(line);
  const number = value === '+Inf' ? Number.POSITIVE_INFINITY : value === 'Nan' ? Number.NaN : Number(value);
  if (Number.isNaN(number) && value !== 'Nan') fail(line);
  return [key, number];
}

function fail(text: string): never {
  throw new Error(`not in the Prometheus text format: ${text}`);
}
