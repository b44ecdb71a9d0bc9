import type { Clock, Ticks } from '../ports.ts';
import type { Tally } from '../tally.ts';
import { Samples } from './samples.ts';
import type { Misfit, PayloadSchema, SchemaLimits } from './schema.ts';

export interface SchemaChecksParts {
  readonly limits: SchemaLimits;
  readonly clock: Clock;
  readonly ticks: Ticks;
  readonly tally: Tally;
}

export interface Publisher {
  readonly tenant: string;
  readonly room: string;
  readonly user: string;
}

/** What a publisher is told. */
export interface SchemaViolation {
  readonly code: 'schema_violation';
  readonly reason: string;
  readonly path: string;
}

/** A path is made of the payload's own keys. */
const PATH_MAX = 256;

export class SchemaChecks {
  readonly samples: Samples;
  readonly #parts: SchemaChecksParts;

  constructor(parts: SchemaChecksParts) {
    this.#parts = parts;
    this.samples = new Samples(parts.limits);
  }

  /** undefined: the payload fits. @param text the payload as JSON, of which the beginning is kept. */
  violation(
    schema: PayloadSchema,
    payload: unknown,
    text: string,
    by: Publisher,
  ): SchemaViolation | undefined {
    const { ticks, tally, clock } = this.#parts;
    const begun = ticks();
    const misfit = schema.check(payload);
    tally.schemaCheck(schema.mode, misfit === undefined, ticks() - begun);
    if (misfit === undefined) return undefined;
    const { match, mode } = schema;
    const { path, problem } = shortened(misfit);
    this.samples.add({ ...by, match, mode, path, problem, at: clock.now() }, text);
    const reason = `${path === '' ? 'the payload' : path} ${problem}`;
    return { code: 'schema_violation', reason, path };
  }
}

function shortened({ path, problem }: Misfit): Misfit {
  return path.length <= PATH_MAX ? { path, problem } : { path: `${path.slice(0, PATH_MAX)}…`, problem };
}
