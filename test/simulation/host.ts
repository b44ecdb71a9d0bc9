import type { Bus, Clock, Cursors, Identity, Log, TokenVerifier } from '../../src/broker/ports.ts';
import { SimNode } from '../support/sim.ts';
import type { Scenario } from './scenario.ts';
import type { ModelSocket } from './socket.ts';

export interface HostParts {
  readonly scenario: Scenario;
  readonly clock: Clock;
  /** How long the work of a turn takes. */
  readonly ticks: () => number;
  readonly cursors: Cursors;
  readonly bus: Bus;
  /** Ends the bus as the end of its process would. */
  readonly kill: () => void;
}

/** One process of the simulation: a node and its bus, which live and die together. */
export class SimHost {
  readonly name: string;
  readonly node: SimNode;
  readonly #kill: () => void;
  draining = false;

  constructor(name: string, { scenario, clock, ticks, cursors, bus, kill }: HostParts) {
    this.name = name;
    this.#kill = kill;
    this.node = new SimNode({
      serverId: name,
      limits: scenario.limits,
      rooms: scenario.policies,
      bus: () => bus,
      clock,
      ticks,
      cursors,
      verifier: TOKENS,
      log: NO_ERRORS,
    });
  }

  /** false: the ticket is not good here. */
  admit(socket: ModelSocket, user: string, ticket: string | undefined, exp: number | undefined): boolean {
    const verdict = ticket === undefined ? undefined : this.node.hub.openTicket(ticket);
    if (verdict?.ok === false) return false;
    this.node.attach(socket, verdict?.identity ?? identityOf(user, exp), verdict?.resumes);
    return true;
  }

  kill(): void {
    for (const socket of [...this.node.sockets]) socket.end(1006, 'the process is gone');
    this.#kill();
  }
}

function identityOf(user: string, exp: number | undefined): Identity {
  const rooms = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }] as const;
  return { user, tenant: 'default', rooms, ...(exp !== undefined && { exp }) };
}

/** Tokens say what they are good for: `<user> <exp>`. */
const TOKENS: TokenVerifier = {
  known: (token) => {
    const [user = '', exp] = token.split(' ');
    return { ok: true, identity: identityOf(user, Number(exp)) };
  },
  verify: async () => ({ ok: false, code: 'unauthorized', reason: 'every token is known here' }),
};

function quiet(): void {}

/** Whatever a node calls an error of its own is one. */
const NO_ERRORS: Log = {
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: (fields, message) => {
    throw (fields as { err?: unknown }).err ?? new Error(message);
  },
};
