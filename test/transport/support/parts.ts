import type { Exclusion } from '../../../src/broker/exclusion/exclusions.ts';
import { Gate } from '../../../src/broker/exclusion/gate.ts';
import { UNLIMITED } from '../../../src/broker/limits/policy.ts';
import type { Connection, Identity, Log, TokenVerifier, Verdict } from '../../../src/broker/ports.ts';
import type { Limits } from '../../../src/broker/settings.ts';
import { Tally } from '../../../src/broker/tally.ts';
import type { WebHandler } from '../../../src/broker/web.ts';
import { type Accept, Transport, type TransportParts } from '../../../src/transport/server.ts';
import { LIMITS } from '../../support/limits.ts';

const SMALL: Limits = {
  ...LIMITS,
  frameBytes: 16 * 1024,
  payloadBytes: 8 * 1024,
  roomsPerConnection: 100,
  rooms: 10_000,
  plainSockets: 500,
  pendingUpgrades: 100,
  historyPage: 100,
  historyPageBytes: 256 * 1024,
  historyTotalBytes: 64 * 1024 * 1024,
  dedupeEntries: 10_000,
};

export function testLimits(overrides: Partial<Limits> = {}): Limits {
  return { ...SMALL, ...overrides };
}

/** Decides by the first word of the token: `known.ann`, `new.ann`, `slow.ann`, `never.ann`, … */
export class TestVerifier implements TokenVerifier {
  readonly #seen = new Set<string>();
  verified = 0;

  known(token: string): Verdict | undefined {
    const [word = '', user = ''] = token.split('.');
    if (word === 'break') throw new Error('the cache is broken');
    return word === 'known' || this.#seen.has(token) ? accepted(user) : undefined;
  }

  verify(token: string): Promise<Verdict> {
    this.verified++;
    const [word = '', user = ''] = token.split('.');
    if (word === 'throw') throw new Error('the verifier is broken');
    return this.#decide(word, user).then((verdict) => {
      if (verdict.ok) this.#seen.add(token);
      return verdict;
    });
  }

  async #decide(word: string, user: string): Promise<Verdict> {
    if (word === 'never') return new Promise<Verdict>(() => {});
    await new Promise((resolve) => setTimeout(resolve, word === 'slow' ? 300 : 1));
    if (word === 'reject') throw new Error('the key set is away');
    if (word === 'expired') return { ok: false, code: 'token_expired', reason: 'exp is past' };
    if (word === 'banned') return { ok: false, code: 'forbidden', reason: 'the user is banned' };
    if (word === 'new' || word === 'slow') return accepted(user);
    return { ok: false, code: 'unauthorized', reason: 'the signature does not fit' };
  }
}

function accepted(user: string): Verdict {
  const identity: Identity = {
    user,
    tenant: 'default',
    rooms: [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }],
  };
  return { ok: true, identity };
}

/** Keeps what is logged at warn and error. */
export class TestLog implements Log {
  readonly warnings: string[] = [];
  readonly errors: string[] = [];
  debug(): void {}
  info(): void {}
  warn(_fields: object, message: string): void {
    this.warnings.push(message);
  }
  error(_fields: object, message: string): void {
    this.errors.push(message);
  }
}

/** A peer that echoes, and remembers what its socket did. */
export interface Guest {
  readonly connection: Connection;
  readonly identity: Identity;
  readonly received: string[];
  drains: number;
  /** The close code, once closed. */
  closed: number | undefined;
}

export interface BuiltTransport {
  readonly transport: Transport;
  readonly tally: Tally;
  readonly verifier: TestVerifier;
  readonly gate: Gate;
  readonly log: TestLog;
}

export interface TestTransport extends BuiltTransport {
  readonly port: number;
  /** In the order of their coming; the closed ones too. */
  readonly guests: Guest[];
  /** The newest guest. */
  guest(): Guest;
}

export type Overrides = Partial<Omit<TransportParts, 'limits'>> & {
  readonly limits?: Partial<Limits>;
  /** Who is kept out, whatever the token. */
  readonly excluded?: (address: string, identity?: Identity) => Exclusion | undefined;
};

const NO_WEB: WebHandler = () => undefined;

/** A real gate, before which nobody is disabled and tokens live for ever. */
function gateOf(verifier: TokenVerifier, excluded: NonNullable<Overrides['excluded']>): Gate {
  return new Gate({
    verifier,
    openTicket: () => ({ ok: false, code: 'unauthorized', reason: 'there are no tickets here' }),
    exclusions: {
      of: (identity, address) => excluded(address, identity),
      ofIdentity: (identity) => excluded('', identity),
      ofAddress: (address) => excluded(address),
    },
    policies: { of: () => UNLIMITED },
    life: { tokenLifeMs: Number.MAX_SAFE_INTEGER, clockToleranceSeconds: 0 },
    clock: Date,
  });
}

export function buildTransport({
  limits,
  excluded = () => undefined,
  ...parts
}: Overrides = {}): BuiltTransport {
  const tally = parts.tally ?? new Tally();
  const verifier = new TestVerifier();
  const log = new TestLog();
  const transport = new Transport({
    host: '127.0.0.1',
    port: 0,
    policy: { origins: undefined, missingOrigin: 'allow', allowQueryToken: false },
    proxyHops: 0,
    tarpit: { holdMs: 0, max: 0 },
    idleSeconds: 32,
    log,
    defer: setImmediate,
    nowMs: () => performance.now(),
    web: NO_WEB,
    ...parts,
    limits: testLimits(limits),
    tally,
  });
  return { transport, tally, verifier, gate: gateOf(verifier, excluded), log };
}

/** Listens on a free port; every connection becomes a guest unless `accept` says otherwise. */
export async function startTransport(overrides: Overrides = {}, accept?: Accept): Promise<TestTransport> {
  const built = buildTransport(overrides);
  const guests: Guest[] = [];
  const address = await built.transport.listen(accept ?? guestsInto(guests, built.tally), built.gate);
  return {
    ...built,
    port: Number(address.slice(address.lastIndexOf(':') + 1)),
    guests,
    guest: () => guests.at(-1) as Guest,
  };
}

/** Counts as the hub does: the limit of connections is read from the tally. */
function guestsInto(guests: Guest[], tally: Tally): Accept {
  return (connection, identity) => {
    const guest: Guest = { connection, identity, received: [], drains: 0, closed: undefined };
    guests.push(guest);
    tally.connections++;
    return {
      receive: (bytes, isBinary) => {
        guest.received.push(`${isBinary ? 'binary' : 'text'} ${Buffer.from(bytes).toString()}`);
        connection.send(bytes.slice());
      },
      drained: () => {
        guest.drains++;
      },
      closed: (code) => {
        guest.closed = code;
        tally.connections--;
      },
    };
  };
}
