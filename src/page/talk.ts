import { type Client, connect, type Gap, type Room, type RoomEvent, type Roster } from '../client/index.ts';
import { avatar, byId, make } from './dom.ts';
import { MessageLog } from './log.ts';
import { StatusView } from './status.ts';

export interface TalkOptions {
  readonly user: string;
  readonly room: string;
  readonly token: string | (() => Promise<string>);
}

interface Payload {
  readonly text: string;
}

/** Messages of the past that a newcomer sees. */
const PAST = 50;
const PING_MS = 2000;
/** Somebody is looking: no wait is longer than this. */
const RETURN_MS = 3000;

/** One visit to a room: the client, the room and what the page shows of them. */
export class Talk {
  readonly #status = new StatusView();
  readonly #log: MessageLog;
  readonly #client: Client;
  readonly #room: Room<Payload>;
  /** This user first, the others by name. */
  readonly #roster: Roster;
  readonly #newId = messageIds();
  #reconnects = 0;
  #gaps = 0;
  #healed = 0;

  constructor({ user, room, token }: TalkOptions) {
    this.#log = new MessageLog(user);
    this.#client = connect('/connect', { token, pingMs: PING_MS, reconnect: { maxMs: RETURN_MS } });
    this.#room = this.#client.join(room, { since: { last: PAST }, presence: true });
    this.#roster = this.#room.roster({
      compare: (one, other) => Number(other.user === user) - Number(one.user === user),
    });
    for (const id of ['reconnects', 'gaps', 'healed', 'waiting'] as const) this.#status.figure(id, 0);
    this.#status.figure('seq', '–');
    this.#followClient();
    this.#followRoom();
  }

  #followClient(): void {
    this.#client.on('state', (state) => this.#status.show(state));
    this.#client.on('quality', (quality) => this.#status.quality(quality));
    this.#client.on('latency', ({ rttMs }) => this.#status.latency(rttMs));
    this.#client.on('reconnect', ({ downMs }) => {
      this.#status.figure('reconnects', ++this.#reconnects);
      this.#log.note(`back after ${(downMs / 1000).toFixed(1)} s`, 'good');
    });
  }

  #followRoom(): void {
    this.#room.on('event', (event) => this.#event(event));
    this.#roster.on('change', () => this.#members());
    this.#room.typing().on('change', (users) => this.#typing(users));
    this.#room.on('gap', (gap) => this.#gap(gap));
    this.#room.on('healed', ({ from, to, events }) => {
      this.#status.figure('healed', ++this.#healed);
      this.#log.note(`a hole of ${events} after seq ${from} was filled up to ${to}`, 'good');
    });
    this.#room.on('joined', () => this.#position());
    this.#room.on('caughtUp', () => this.#position());
    this.#room.on('error', ({ code, reason }) => this.#log.note(`${code}: ${reason}`, 'warn'));
  }

  #event(event: RoomEvent<Payload>): void {
    if (event.ephemeral) return;
    this.#log.message(event, textOf(event.payload));
    this.#position();
  }

  #position(): void {
    this.#status.figure('seq', this.#room.position?.seq ?? '–');
  }

  #gap({ from, to, reason }: Gap): void {
    // A broker without a store begins anew: its memory is gone, and what it replays is all there is.
    if (reason === 'epoch') this.#log.note('the broker has a new memory (epoch): its order begins anew');
    else this.#log.note(`gap: ${from + 1} to ${to} are missing (${reason})`, 'warn');
    this.#log.moved(to);
    if (reason !== 'epoch') this.#status.figure('gaps', ++this.#gaps);
    this.#position();
  }

  #members(): void {
    const { members, count, mode } = this.#roster;
    byId('count').textContent = mode === 'full' ? String(count) : `${count}, too many to list`;
    const items = members.map(({ user, connections }) => {
      const tabs = connections > 1 ? [make('small', '', `${connections} tabs`)] : [];
      return make('li', '', avatar(user), make('span', 'who', user), ...tabs);
    });
    byId('members').replaceChildren(...items);
  }

  #typing(users: readonly string[]): void {
    const verb = users.length === 1 ? 'is' : 'are';
    byId('typing').textContent = users.length === 0 ? '' : `${users.join(', ')} ${verb} typing…`;
  }

  say(text: string): void {
    const msgId = this.#newId();
    this.#room.typing().stop();
    this.#log.waiting(msgId, text);
    this.#room
      .publish({ text }, { msgId })
      .then(
        () => this.#log.settled(msgId),
        (error: Error) => this.#log.failed(msgId, error.message),
      )
      .finally(() => this.#status.figure('waiting', this.#client.pending));
    this.#status.figure('waiting', this.#client.pending);
  }

  /** A key was pressed; `empty`: there is nothing to be sent any more. */
  typed(empty: boolean): void {
    if (empty) this.#room.typing().stop();
    else this.#room.typing().start();
  }

  end(): void {
    this.#client.close();
    this.#status.hide();
  }
}

/** Others may publish what they like into the room. */
function textOf(payload: unknown): string {
  const { text } = (payload ?? {}) as { text?: unknown };
  return typeof text === 'string' ? text : JSON.stringify(payload);
}

/** crypto.randomUUID exists on https pages only. */
function messageIds(): () => string {
  const words = crypto.getRandomValues(new Uint32Array(4));
  const prefix = Array.from(words, (word) => word.toString(36)).join('');
  let count = 0;
  return () => `${prefix}-${++count}`;
}
