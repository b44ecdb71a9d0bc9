/**
 * What was promised, held against everything that was published, stored and received (docs/protocol.md, 5.1). Pure:
 * test/loadtest/chaos.test.ts shows it histories with each fault that it has to find.
 *
 * Messages have numbers, given before they are published; each carries its own in the payload.
 */

export interface Published {
  readonly room: string;
  /** `open`: neither ack nor refusal has come. */
  readonly state: 'acked' | 'refused' | 'open';
  /** Of an ack. */
  readonly seq?: number;
  readonly epoch?: string;
}

/** Entries in the order of the store; two arrays, because there are millions. */
export interface StoredRoom {
  readonly seqs: readonly number[];
  readonly messages: readonly number[];
}

/** One subscriber in one room. */
export interface Told {
  readonly who: string;
  readonly room: string;
  /** The position that it joined at: what comes after it is owed. */
  readonly from: number;
  /** Every epoch that a `joined` of this room named. */
  readonly epochs: readonly string[];
  /** As received. */
  readonly seqs: readonly number[];
  readonly messages: readonly number[];
  readonly gaps: readonly Gap[];
}

export interface Gap {
  /** Exclusive. */
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
  readonly reason: string;
}

export interface Facts {
  /** By number of the message. */
  readonly published: readonly Published[];
  readonly stored: ReadonlyMap<string, StoredRoom>;
  readonly told: readonly Told[];
}

export const KINDS = {
  'ack-not-stored': 'acked, and not in the store',
  'ack-elsewhere': 'acked with another place than the one it is stored at',
  'stored-twice': 'stored more than once',
  'stored-unknown': 'stored, and never published in this room',
  unanswered: 'neither ack nor refusal',
  lost: 'stored after the join, not received, and in no gap',
  doubled: 'received more than once',
  reordered: 'received after a later one',
  unstored: 'received, and not what the store has at this place',
  early: 'received, and from before the join',
  'named-but-came': 'named in a gap, and received',
  epoch: 'a room had several epochs',
} as const;

export type Kind = keyof typeof KINDS;

export interface Verdict {
  /** Nothing was broken. Gaps do not break anything: they are counted. */
  readonly ok: boolean;
  readonly counts: Readonly<Record<Kind, number>>;
  /** The first few of each kind, in words. */
  readonly examples: readonly string[];
  readonly acked: number;
  readonly stored: number;
  readonly received: number;
  readonly gaps: number;
  /** Events that subscribers did not get, each named in a gap. */
  readonly excused: number;
}

const EXAMPLES = 5;

class Findings {
  readonly counts = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, 0])) as Record<Kind, number>;
  readonly examples: string[] = [];

  add(kind: Kind, where: string): void {
    this.counts[kind]++;
    if (this.counts[kind] <= EXAMPLES) this.examples.push(`${kind}: ${where} (${KINDS[kind]})`);
  }
}

export function check({ published, stored, told }: Facts): Verdict {
  const findings = new Findings();
  const places = storedPlaces(published, stored, findings);
  checkAcks(published, places, findings);
  checkEpochs(published, told, findings);
  let excused = 0;
  for (const one of told) excused += checkTold(one, stored.get(one.room) ?? NOTHING, findings);
  return {
    ok: Object.values(findings.counts).every((count) => count === 0),
    counts: findings.counts,
    examples: findings.examples,
    acked: published.filter(({ state }) => state === 'acked').length,
    stored: sum([...stored.values()].map(({ seqs }) => seqs.length)),
    received: sum(told.map(({ seqs }) => seqs.length)),
    gaps: sum(told.map(({ gaps }) => gaps.length)),
    excused,
  };
}

const NOTHING: StoredRoom = { seqs: [], messages: [] };

/** By number of the message: where it is stored first; 0: nowhere. */
function storedPlaces(
  published: readonly Published[],
  stored: ReadonlyMap<string, StoredRoom>,
  findings: Findings,
): number[] {
  const places = new Array<number>(published.length).fill(0);
  for (const [room, { seqs, messages }] of stored)
    for (const [at, message] of messages.entries()) {
      const seq = seqs[at] as number;
      if (published[message]?.room !== room) findings.add('stored-unknown', `${room} ${seq}: ${message}`);
      else if (places[message] !== 0)
        findings.add('stored-twice', `${room} message ${message}: ${places[message]}, ${seq}`);
      else places[message] = seq;
    }
  return places;
}

function checkAcks(published: readonly Published[], places: readonly number[], findings: Findings): void {
  for (const [message, { state, room, seq }] of published.entries()) {
    if (state === 'open') findings.add('unanswered', `${room} message ${message}`);
    if (state !== 'acked') continue;
    const place = places[message] as number;
    if (place === 0) findings.add('ack-not-stored', `${room} message ${message}, acked at ${seq}`);
    else if (place !== seq)
      findings.add('ack-elsewhere', `${room} message ${message}: acked at ${seq}, is at ${place}`);
  }
}

function checkEpochs(published: readonly Published[], told: readonly Told[], findings: Findings): void {
  const epochs = new Map<string, Set<string>>();
  const note = (room: string, epoch: string) => {
    const known = epochs.get(room);
    if (known === undefined) epochs.set(room, new Set([epoch]));
    else known.add(epoch);
  };
  for (const { room, epoch } of published) if (epoch !== undefined) note(room, epoch);
  for (const { room, epochs: named } of told) for (const epoch of named) note(room, epoch);
  for (const [room, named] of epochs)
    if (named.size > 1) findings.add('epoch', `${room}: ${[...named].join(', ')}`);
}

/** Gives the number of events that gaps excuse. */
function checkTold(told: Told, stored: StoredRoom, findings: Findings): number {
  const { who, room, from, gaps } = told;
  const got = checkReceived(told, stored, findings);
  let excused = 0;
  for (const seq of stored.seqs) {
    if (seq <= from) continue;
    const named = gaps.some((gap) => seq > gap.from && seq <= gap.to);
    if (named && got.has(seq)) findings.add('named-but-came', `${who} in ${room}: ${seq}`);
    else if (named) excused++;
    else if (!got.has(seq)) findings.add('lost', `${who} in ${room}: ${seq}`);
  }
  return excused;
}

/** The store's order is the room's one order: who agrees with it agrees with everybody. */
function checkReceived(told: Told, stored: StoredRoom, findings: Findings): Set<number> {
  const { who, room, from, seqs, messages } = told;
  const messageAt = new Map(stored.seqs.map((seq, at) => [seq, stored.messages[at]]));
  const got = new Set<number>();
  let last = 0;
  for (const [at, seq] of seqs.entries()) {
    const where = `${who} in ${room}: ${seq}`;
    if (got.has(seq)) findings.add('doubled', where);
    else if (seq < last) findings.add('reordered', `${where} after ${last}`);
    if (seq <= from) findings.add('early', `${where}, joined at ${from}`);
    if (messageAt.get(seq) !== messages[at])
      findings.add('unstored', `${where} is ${messages[at]}, the store has ${messageAt.get(seq)}`);
    got.add(seq);
    last = Math.max(last, seq);
  }
  return got;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
