/** Whether a stream is what the settings ask for. Wider is no fault: each room's own bounds are applied on reading. */
import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { showDuration, showSize } from '../../broker/units.ts';
import { isGrowing } from './stream-update.ts';

type Wanted = Omit<
  StreamConfig,
  'max_consumers' | 'sealed' | 'first_seq' | 'discard_new_per_subject' | 'mirror_direct'
>;

export type WantedStream = Partial<Wanted> & Pick<StreamConfig, 'name' | 'subjects'>;

/** Compared to the letter; what is named neither here nor below an operator may set as the site needs it. */
const EXACT = [
  'subjects',
  'retention',
  'storage',
  'discard',
  'allow_direct',
  'republish',
  'allow_msg_ttl',
  'allow_rollup_hdrs',
] as const;

/** Bounds of what a stream keeps and takes: a broker needs as much as its settings say, and more does no harm. */
const BOUNDS = ['max_age', 'max_msgs_per_subject', 'max_msg_size', 'duplicate_window'] as const;
/** For `carillon streams apply` alone: brokers take the sizes and copies that they find. */
const SIZES = ['max_bytes', 'num_replicas'] as const;

type Bound = (typeof BOUNDS)[number] | (typeof SIZES)[number];

export interface StreamFit {
  /** What cannot be lived with: something is missing, otherwise, or narrower. In words; empty: it fits. */
  readonly wrong: readonly string[];
  /** Where the stream keeps more than the settings say, in words. */
  readonly wider: readonly string[];
}

export function streamFit(config: StreamConfig, wanted: WantedStream): StreamFit {
  const wrong = [...metadataDifferences(config, wanted), ...exactDifferences(config, wanted)];
  const wider: string[] = [];
  for (const field of BOUNDS) {
    const by = widerBy(field, config, wanted);
    if (by !== 0) (by > 0 && !isExact(field, wanted) ? wider : wrong).push(difference(field, config, wanted));
  }
  return { wrong, wider };
}

function metadataDifferences(config: StreamConfig, wanted: WantedStream): string[] {
  return ['carillon.shards', 'carillon.schema'].flatMap((field) => {
    const is = config.metadata?.[field];
    const should = wanted.metadata?.[field];
    return is === should ? [] : [`${field} is ${is ?? 'missing'}, the settings say ${should ?? 'none'}`];
  });
}

function exactDifferences(config: StreamConfig, wanted: WantedStream): string[] {
  return EXACT.flatMap((field) => {
    const is = plain(config[field] || undefined);
    const should = plain(wanted[field] || undefined);
    return is === should ? [] : [`${field} is ${is}, the settings say ${should}`];
  });
}

/** One message per subject is the last one: with more, old entries would come back. */
function isExact(field: Bound, wanted: WantedStream): boolean {
  return field === 'max_msgs_per_subject' && wanted.max_msgs_per_subject === 1;
}

/** Above 0: the stream is wider than wanted; below: narrower. */
function widerBy(field: Bound, config: StreamConfig, wanted: WantedStream): number {
  const is = amountOf(config[field]);
  const should = amountOf(wanted[field]);
  return is === should ? 0 : is - should;
}

/** JetStream writes no limit as 0 or -1. */
function amountOf(value: number | undefined): number {
  return value === undefined || value <= 0 ? Number.POSITIVE_INFINITY : value;
}

function difference(field: Bound, config: StreamConfig, wanted: WantedStream): string {
  return `${field} is ${show(field, config[field])}, the settings say ${show(field, wanted[field])}`;
}

function show(field: Bound, value: number | undefined): string {
  const amount = amountOf(value);
  if (amount === Number.POSITIVE_INFINITY) return 'without limit';
  if (field === 'max_age' || field === 'duplicate_window') return showDuration(amount / 1e6);
  return field === 'max_bytes' || field === 'max_msg_size' ? bytesText(amount) : `${amount}`;
}

function bytesText(bytes: number): string {
  const text = showSize(bytes);
  return text === `${bytes}` ? `${bytes} bytes` : text;
}

function plain(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'missing');
  return JSON.stringify(
    Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))),
  );
}

/** A bound that is wider than the settings, and what making it narrower takes away. */
export interface Narrowing {
  readonly stream: string;
  readonly difference: string;
  readonly drops: string;
}

export interface StreamChange {
  /** What to ask of the server; undefined: nothing differs. */
  readonly update: WantedStream | undefined;
  readonly narrowings: readonly Narrowing[];
}

/** How to make a stream fit. Without `narrow` each bound stays as wide as it is. */
export function streamChange(info: StreamInfo, wanted: WantedStream, narrow: boolean): StreamChange {
  const { config } = info;
  const wider = [...BOUNDS, ...SIZES].filter(
    (field) => !isExact(field, wanted) && widerBy(field, config, wanted) > 0,
  );
  const narrowings = wider.map((field) => ({
    stream: wanted.name,
    difference: difference(field, config, wanted),
    drops: drops(field, info, wanted),
  }));
  const kept = narrow ? [] : wider.map((field) => [field, config[field]] as const);
  const target: WantedStream = { ...wanted, ...Object.fromEntries(kept) };
  const same =
    !isGrowing(config) &&
    streamFit(config, target).wrong.length === 0 &&
    [...BOUNDS, ...SIZES].every((field) => widerBy(field, config, target) === 0);
  return { update: same ? undefined : target, narrowings };
}

function drops(field: Bound, info: StreamInfo, wanted: WantedStream): string {
  const { state } = info;
  const to = show(field, wanted[field]);
  switch (field) {
    case 'max_age':
      return state.messages === 0 || ageMs(info) <= amountOf(wanted.max_age) / 1e6
        ? `nothing now: it has nothing older than ${to}`
        : `what is older than ${to}; the oldest message is of ${state.first_ts}`;
    case 'max_msgs_per_subject':
      return `of each room all but its newest ${to} messages`;
    case 'max_bytes':
      return droppedBytes(info, wanted);
    case 'num_replicas':
      return `${info.config.num_replicas - amountOf(wanted.num_replicas)} of ${info.config.num_replicas} copies`;
    case 'max_msg_size':
      return `nothing that is stored; larger messages are refused`;
    case 'duplicate_window':
      return `nothing that is stored; message ids are forgotten after ${to}`;
  }
}

function droppedBytes({ state }: StreamInfo, wanted: WantedStream): string {
  const over = state.bytes - amountOf(wanted.max_bytes);
  if (over <= 0) return `nothing now: ${bytesText(state.bytes)} are used`;
  if (wanted.discard === 'new') return 'nothing, but it takes no new messages';
  return `the oldest messages, ${bytesText(over)}`;
}

/** Of the oldest message, by the server's clock. */
function ageMs(info: StreamInfo): number {
  const now = 'ts' in info ? Date.parse(String(info.ts)) : Number.NaN;
  const age = now - Date.parse(String(info.state.first_ts));
  return Number.isNaN(age) ? Number.POSITIVE_INFINITY : age;
}
