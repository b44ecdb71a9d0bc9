import type { Cancel, Cluster } from '../cluster.ts';
import type { Defer, Resumption } from '../ports.ts';
import type { Ending, Resumptions } from '../resumption.ts';

export interface EndingsParts {
  readonly cluster: Cluster;
  readonly resumptions: Resumptions;
  readonly defer: Defer;
}

const TOPIC = 'sessions.ended';
/** In one message: a reason has up to 123 bytes. */
const AT_ONCE = 50;

interface Told extends Resumption, Ending {}

/**
 * Why a node has ended a connection is told to the others, so that `server_info.last` says it wherever the session goes
 * on. A line that merely broke is not worth a message: the client knows as much.
 */
export class Endings {
  readonly #parts: EndingsParts;
  readonly #hearing: Cancel;
  #untold: Told[] = [];

  constructor(parts: EndingsParts) {
    this.#parts = parts;
    this.#hearing = parts.cluster.hear(TOPIC, (message) => {
      for (const { session, generation, ...ending } of message as readonly Told[])
        parts.resumptions.ended({ session, generation }, generation, ending);
    });
  }

  ended(place: Resumption, ending: Ending): void {
    if (this.#parts.cluster.kind === 'embedded') return;
    if (this.#untold.length === 0) this.#parts.defer(() => this.#tell());
    this.#untold.push({ ...place, ...ending });
  }

  close(): void {
    this.#hearing();
  }

  #tell(): void {
    const endings = this.#untold;
    this.#untold = [];
    for (let at = 0; at < endings.length; at += AT_ONCE)
      this.#parts.cluster.tell(TOPIC, endings.slice(at, at + AT_ONCE));
  }
}
