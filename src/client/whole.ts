/** Asks for the members of a room again, after a list of them that was partial. */
import type { ClientFrame, PresenceUpdateFrame } from '../protocol/frames.ts';
import type { Answer } from './requests.ts';

export interface Asking {
  readonly open: boolean;
  request(frame: ClientFrame, answer: Answer): ClientFrame;
  send(frame: ClientFrame): void;
}

/** Milliseconds: by then all nodes should have told. */
const WHOLE_MS = 1_000;

export class WholeList {
  readonly #room: string;
  readonly #host: Asking;
  readonly #listed: (list: PresenceUpdateFrame) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(room: string, host: Asking, listed: (list: PresenceUpdateFrame) => void) {
    this.#room = room;
    this.#host = host;
    this.#listed = listed;
  }

  /** In a while. */
  ask(): void {
    this.cancel();
    this.#timer = setTimeout(() => {
      if (!this.#host.open) return;
      const answer: Answer = {
        done: (list) => this.#listed(list as PresenceUpdateFrame),
        failed: ({ retry }) => {
          if (retry) this.ask();
        },
      };
      this.#host.send(this.#host.request({ type: 'presence', room: this.#room }, answer));
    }, WHOLE_MS);
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}
