import type { RoomEvent } from '../client/index.ts';
import { avatar, byId, make } from './dom.ts';

/** Rows that are kept on the screen. */
const ROWS_MAX = 500;

interface Row {
  readonly element: HTMLElement;
  readonly chain: HTMLElement;
}

/** The conversation: messages in the order of the room, and below them those that have no ack yet. */
export class MessageLog {
  readonly #list = byId<HTMLOListElement>('log');
  readonly #pending = byId<HTMLOListElement>('pending');
  readonly #rows = new Map<string, Row>();
  readonly #waiting = new Map<string, HTMLElement>();
  readonly #user: string;
  #last: number | undefined;

  constructor(user: string) {
    this.#user = user;
    this.#list.replaceChildren(make('li', 'empty', 'Nothing yet. Say hello.'));
    this.#pending.replaceChildren();
  }

  message(event: RoomEvent, text: string): void {
    const id = `${event.from}|${event.msgId ?? event.seq}`;
    this.settled(event.msgId);
    const known = this.#rows.get(id);
    if (known === undefined) this.#add(id, event, text);
    // Sent again to a broker that had lost its memory: it is the same message in a new place.
    else this.#place(known.chain, event);
    this.#last = event.seq;
  }

  #add(id: string, { from, ts, seq, prev }: RoomEvent, text: string): void {
    const chain = make('span', 'chain');
    this.#place(chain, { seq, prev });
    const element = row(from, new Date(ts), text, chain);
    element.classList.add('fresh');
    element.classList.toggle('mine', from === this.#user);
    this.#rows.set(id, { element, chain });
    this.#append(element);
    for (const [oldest, { element: first }] of this.#rows) {
      if (this.#rows.size <= ROWS_MAX) break;
      this.#rows.delete(oldest);
      first.remove();
    }
  }

  /** The link in the chain; green while `prev` is what came last. */
  #place(chain: HTMLElement, { seq, prev }: { seq?: number | undefined; prev?: number | undefined }): void {
    chain.replaceChildren('seq ', make('b', '', String(seq)), ` ← ${prev}`);
    chain.title = `seq ${seq}: its place in the room. prev ${prev}: the place before it.`;
    chain.classList.toggle('broken', this.#last !== undefined && prev !== this.#last);
  }

  /** A position that is not shown as a message: the next one may follow it. */
  moved(seq: number): void {
    this.#last = seq;
  }

  note(text: string, kind: '' | 'good' | 'warn' = ''): void {
    this.#append(make('li', `note ${kind}`, text));
  }

  waiting(msgId: string, text: string): void {
    const element = row(this.#user, new Date(), text, make('span', 'chain', 'waiting for ack'));
    element.classList.add('waiting');
    this.#waiting.set(msgId, element);
    this.#pending.append(element);
    this.#pending.scrollTop = this.#pending.scrollHeight;
  }

  settled(msgId: string | undefined): void {
    if (msgId === undefined) return;
    this.#waiting.get(msgId)?.remove();
    this.#waiting.delete(msgId);
  }

  failed(msgId: string, reason: string): void {
    const element = this.#waiting.get(msgId);
    element?.classList.add('failed');
    element?.querySelector('.chain')?.replaceChildren(reason);
  }

  #append(element: HTMLElement): void {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    list.querySelector('.empty')?.remove();
    list.append(element);
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function row(from: string, at: Date, text: string, chain: HTMLElement): HTMLElement {
  const time = make(
    'time',
    '',
    at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' }),
  );
  time.dateTime = at.toISOString();
  const head = make('div', 'head', make('b', '', from), time);
  return make('li', 'message', avatar(from), make('div', '', head, make('div', 'body', text)), chain);
}
