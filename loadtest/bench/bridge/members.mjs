/** The client processes of one pod, as seen by the bench. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { mint } from '../../support/token.mjs';

const FILE = fileURLToPath(new URL('member.mjs', import.meta.url));
const PROCESSES = 2;
export const ROOMS_EACH = 1000;

export class Members {
  #children = [];

  /** Resolves when `rooms` rooms have one member each; throws when a join is refused for good. */
  static async open(pod, prefix, rooms) {
    const members = new Members();
    const connections = Math.ceil(rooms / ROOMS_EACH);
    const address = { ...pod.listen, path: '/connect', protocol: 'chat.v1', token: await mint('bench') };
    const share = Math.ceil(connections / PROCESSES);
    members.#children = Array.from({ length: PROCESSES }, () => fork(FILE, { execArgv: [] }));
    await Promise.all(
      members.#children.map((child, at) => {
        const [from, to] = [at * share, Math.min(connections, (at + 1) * share)];
        return ask(child, { plan: { address, prefix, each: ROOMS_EACH, from, to } });
      }),
    );
    return members;
  }

  /** What has happened to all of them since they joined. */
  async counts() {
    const all = await Promise.all(this.#children.map((child) => ask(child, {})));
    const sum = (key) => all.reduce((total, counts) => total + counts[key], 0);
    return Object.fromEntries(
      ['events', 'gaps', 'errors', 'closed', 'refused'].map((key) => [key, sum(key)]),
    );
  }

  close() {
    for (const child of this.#children) child.disconnect();
  }
}

function ask(child, question) {
  return new Promise((resolve, reject) => {
    child.once('message', (answer) => {
      if (answer.type === 'failed') reject(new Error(answer.why));
      else resolve(answer);
    });
    child.once('exit', (code) => reject(new Error(`a client process ended with ${code}`)));
    child.send(question);
  });
}
