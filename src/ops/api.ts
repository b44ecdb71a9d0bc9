import { type Instruments, overClosedSet } from './instruments.ts';

export interface ApiAnswers {
  /** By `<scope>_<class of the status>`. */
  readonly answers: ReadonlyMap<string, number>;
}

const OUTCOMES = ['api_2xx', 'api_4xx', 'api_5xx', 'admin_2xx', 'admin_4xx', 'admin_5xx'];

export function describeApi(instruments: Instruments, { answers }: ApiAnswers): void {
  instruments.counters(
    'api_answers_total',
    'Calls of the server API and the admin API, by API and class of the status.',
    'outcome',
    () => overClosedSet(OUTCOMES, answers),
  );
}
