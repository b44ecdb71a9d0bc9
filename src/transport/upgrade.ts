import type { HttpRequest, HttpResponse, us_socket_context_t } from 'uWebSockets.js';
import type { Gate, Passage, Passed, PassedIdentity, Stopped } from '../broker/exclusion/gate.ts';
import type { ConnectRefusal } from '../broker/limits/admission.ts';
import type { PlaceWait } from '../broker/limits/place-queue.ts';
import type { Identity, Log, Resumption } from '../broker/ports.ts';
import type { Inquiry } from '../broker/sessions/elsewhere.ts';
import type { Limits } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import { addressOf, clientAddress } from './address.ts';
import type { Compression } from './compression.ts';
import { type SocketData, UwsConnection } from './connection.ts';
import { type Handshake, type HandshakePolicy, isRefusal, readHandshake } from './handshake.ts';
import { Head } from './head.ts';
import type { Networks } from './networks.ts';
import type { Pace } from './pace.ts';
import type { PlainSockets } from './plain-sockets.ts';
import { limited, REFUSALS, type Refusal, refuse, unavailable } from './refusal.ts';
import { Tarpit, type TarpitSettings } from './tarpit.ts';
import { hasCertificate, NO_CERTIFICATE } from './tls.ts';

export interface UpgradeParts {
  readonly policy: HandshakePolicy;
  readonly proxyHops: number;
  readonly limits: Limits;
  readonly tally: Tally;
  readonly log: Log;
  readonly networks: Networks;
  readonly plain: PlainSockets;
  /** Milliseconds of any clock that only goes forward. */
  readonly nowMs: () => number;
  readonly compression: Compression;
  /** Only clients with a certificate. */
  readonly certified: boolean;
  readonly draining: () => boolean;
  readonly gate: () => HandshakeGate;
  readonly tarpit: TarpitSettings;
  /** What other nodes have to say first; undefined: nothing. */
  readonly inquire: (identity: Identity, resumes?: Resumption) => Inquiry | undefined;
  /** Whether the tenant has a place; asked in the turn of the upgrade, with what came of `inquire`. */
  readonly admit: (
    identity: Identity,
    resumes: Resumption | undefined,
    elsewhere: number,
  ) => ConnectRefusal | undefined;
  /** `admit` found no place for the tenant: what to wait for before it is asked again. undefined: that is no use. */
  readonly awaitPlace: (identity: Identity, ms: number) => PlaceWait | undefined;
  /** Bounds what handshakes take of a turn of the loop. */
  readonly pace: Pace;
  /** Runs the task while another socket holds the one cork buffer of uWebSockets.js. false: there is none. */
  readonly besideCork: (task: () => void) => boolean;
}

/** Whether a credential is good, and whoever shows it is kept out. */
export type HandshakeGate = Pick<Gate, 'ofAddress' | 'known' | 'verify' | 'ticket' | 'again'>;

/** A verified connection on its way to its open callback. */
export interface Admitted extends SocketData {
  readonly identity: PassedIdentity;
  readonly resumes: Resumption | undefined;
}

/** One handshake; `aborted` is set while it waits, for a signature check or for other nodes. */
interface Waiting {
  readonly response: HttpResponse;
  readonly context: us_socket_context_t;
  readonly handshake: Handshake;
  readonly address: string;
  aborted: (() => void) | undefined;
  /** Since when it waits for a place of its tenant, by `nowMs`. */
  placelessAt: number | undefined;
}

/**
 * Turns requests into WebSockets. A token seen before is decided in the same turn; another one is verified
 * aside, with everything that kills a naive asynchronous upgrade taken care of: header copies, `onAborted`,
 * no `cork`, and a timeout of our own, since uWebSockets.js has none for a pending response.
 */
export class Upgrades {
  readonly #parts: UpgradeParts;
  readonly #tarpit: Tarpit;
  #pending = 0;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
    this.#tarpit = new Tarpit(parts.tarpit, parts.tally, parts.log);
  }

  handle(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    // An exception out of an HTTP handler ends the process, whatever listeners it has (rule 4).
    this.#guarded(response, () => this.#handle(response, request, context));
  }

  #guarded(response: HttpResponse, step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#parts.log.error({ err: error }, 'handshake failed');
      this.#refuse(response, REFUSALS.internal('the server failed; the log has the cause'));
    }
  }

  #handle(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    // It becomes a WebSocket or is refused, which ends it; those that wait are bounded by pendingUpgrades.
    this.#parts.plain.settled(addressOf(response.getRemoteAddressAsText()));
    const head = new Head(request);
    if (head.ambiguous) {
      this.#parts.tally.upgrade('bad_request');
      response.close();
      return;
    }
    const address = this.#addressOf(response, head);
    const excluded = this.#parts.gate().ofAddress(address);
    if (excluded !== undefined) return this.#turnAway(response, excluded);
    const hasty = this.#attemptRefusal(address);
    if (hasty !== undefined) return this.#refuse(response, hasty);
    if (this.#parts.certified && !hasCertificate(response))
      return this.#refuse(response, REFUSALS.forbidden(NO_CERTIFICATE));
    const handshake = readHandshake(request, head, this.#parts.policy);
    if (isRefusal(handshake)) return this.#refuse(response, handshake);
    const full = this.#fullRefusal(address);
    if (full !== undefined) return this.#refuse(response, full);
    const waiting: Waiting = {
      response,
      context,
      handshake,
      address,
      aborted: undefined,
      placelessAt: undefined,
    };
    this.#paced(waiting, () => this.#proceed(waiting));
  }

  #proceed(waiting: Waiting): void {
    const gate = this.#parts.gate();
    const { kind, text } = waiting.handshake.credential;
    if (kind === 'ticket') return this.#judge(waiting, gate.ticket(text, waiting));
    const known = gate.known(text, waiting);
    if (known !== undefined) return this.#judge(waiting, known);
    this.#hold(
      waiting,
      () => gate.verify(text, waiting),
      (passage) => this.#paced(waiting, () => this.#judge(waiting, passage)),
    );
  }

  /** Now, or when a later turn of the loop has time for it, unless the client has left by then. */
  #paced(waiting: Waiting, then: () => void): void {
    const { pace, tally } = this.#parts;
    if (pace.free) return pace.run(then);
    tally.upgradesDeferred++;
    this.#onAborted(waiting, () => {
      waiting.aborted = undefined;
      tally.upgrade('aborted');
    });
    pace.later(() => {
      if (waiting.aborted === undefined) return;
      waiting.aborted = undefined;
      this.#guarded(waiting.response, then);
    });
  }

  /** Until `waiting.aborted` is something else. */
  #onAborted(waiting: Waiting, aborted: () => void): void {
    waiting.aborted = aborted;
    // Again where it waits a second time: the last one counts.
    waiting.response.onAborted(() => waiting.aborted?.());
  }

  #addressOf(response: HttpResponse, head: Head): string {
    const { proxyHops } = this.#parts;
    const remote = addressOf(response.getRemoteAddressAsText());
    // A proxy may have added a line of its own: of the first alone the client could be the author.
    return proxyHops === 0 ? remote : clientAddress(remote, head.all('x-forwarded-for'), proxyHops);
  }

  #attemptRefusal(address: string): Refusal | undefined {
    const { limits, tally, networks, nowMs } = this.#parts;
    const retryAfterMs = limits.rates ? networks.attempt(address, Math.floor(nowMs())) : 0;
    if (retryAfterMs === 0) return undefined;
    tally.refused('address_attempts');
    const { perSecond, burst } = limits.address.attempts;
    const reason = `an address may try ${perSecond} times a second (limits.address.attemptsPerSecond)`;
    return limited('rate_limited', reason, { limit: perSecond, used: burst, retryAfterMs });
  }

  #fullRefusal(address: string): Refusal | undefined {
    const { limits, tally, draining, networks } = this.#parts;
    if (draining()) return REFUSALS.draining('this node is going away: connect again, to another one');
    if (tally.connections >= limits.connections) {
      tally.refused('node_connections');
      return REFUSALS.tooMany(`this node has its limit of ${limits.connections} connections`);
    }
    const used = networks.full(address);
    if (used === undefined) return undefined;
    tally.refused('address_connections');
    const limit = limits.address.connections;
    const reason = `an address may have ${limit} connections (limits.address.connections)`;
    return limited('quota_exceeded', reason, { limit, used, retryAfterMs: 5000 });
  }

  /** Refuses, unless other nodes may give up some of the tenant's connections: then it is judged again. */
  #noPlace(waiting: Waiting, passed: Passed, refused: ConnectRefusal): void {
    const { tally, limits, nowMs, awaitPlace } = this.#parts;
    waiting.placelessAt ??= nowMs();
    const left = Math.min(limits.tenantWaitMs, limits.upgradeTimeoutMs / 2) - (nowMs() - waiting.placelessAt);
    const place =
      refused.by === 'tenant_connections' ? awaitPlace(passed.identity, Math.floor(left)) : undefined;
    if (place === undefined) {
      tally.refused(refused.by);
      return this.#refuse(waiting.response, placeRefusal(refused));
    }
    this.#hold(
      waiting,
      () => place.over,
      () => this.#judge(waiting, passed),
      () => place.cancel(),
    );
  }

  /** Asks other nodes first, where the tenant's policy needs them. */
  #judge(waiting: Waiting, passage: Passage): void {
    // Who is kept out must not keep other nodes busy.
    if (!passage.ok) return this.#turnAway(waiting.response, passage);
    const inquiry = this.#parts.inquire(passage.identity, passage.resumes);
    if (inquiry === undefined) return this.#decide(waiting, passage, 0);
    this.#hold(
      waiting,
      () => inquiry.others,
      (elsewhere) => this.#decide(waiting, passage, elsewhere),
      () => inquiry.over(),
    );
  }

  /** Exactly one of these comes first: the answer, the time, the client's leaving; `over` follows it. */
  #hold<T>(waiting: Waiting, ask: () => Promise<T>, then: (answer: T) => void, over = () => {}): void {
    const { tally, log, limits } = this.#parts;
    const { response } = waiting;
    const settle = (how: () => void) => {
      if (waiting.aborted !== aborted) return;
      waiting.aborted = undefined;
      this.#pending--;
      clearTimeout(timer);
      how();
      over();
    };
    const aborted = () => settle(() => tally.upgrade('aborted'));
    if (this.#pending >= limits.pendingUpgrades) {
      const reason = `${limits.pendingUpgrades} handshakes are being checked already`;
      this.#refuse(response, REFUSALS.overloaded(reason));
      return over();
    }
    this.#pending++;
    const timer = setTimeout(
      () =>
        settle(() => this.#refuse(response, REFUSALS.timeout('the handshake could not be checked in time'))),
      limits.upgradeTimeoutMs,
    );
    this.#onAborted(waiting, aborted);
    ask()
      .then(
        (answer) => settle(() => then(answer)),
        (error: unknown) => {
          log.error({ err: error }, 'token check failed');
          settle(() => this.#refuse(response, REFUSALS.internal('the token could not be checked')));
        },
      )
      .catch((error: unknown) => log.error({ err: error }, 'handshake failed'));
  }

  #decide(waiting: Waiting, judged: Passed, elsewhere: number): void {
    // Again: something may have been revoked, others have come, or a drain begun, while the token was being checked.
    const { response, handshake, context, address } = waiting;
    const passage = this.#parts.gate().again(judged, waiting);
    if (!passage.ok) return this.#turnAway(response, passage);
    const { identity, resumes } = passage;
    const full = this.#fullRefusal(address);
    if (full !== undefined) return this.#refuse(response, full);
    const refused = this.#parts.admit(identity, resumes, elsewhere);
    if (refused !== undefined) return this.#noPlace(waiting, passage, refused);
    const data: Admitted = {
      connection: new UwsConnection(handshake.encoding, address, this.#compressionOf(handshake)),
      identity,
      resumes,
    };
    const upgrade = () => {
      response.upgrade(data, handshake.key, handshake.subprotocol, handshake.extensions, context);
    };
    // Not in the `cork` of its own: outside the request's handler, uWebSockets.js now and then takes the new
    // WebSocket for the corked response, which the upgrade has moved, and closes it with 1006 (10 of 48,000;
    // uncorked 0 of 88,000). But without any, it prints a warning each time: so another socket holds the buffer.
    // What makes an uncorked upgrade deadly, `Connection: close`, has been refused by the handshake (rules 2, 3).
    if (!this.#parts.besideCork(upgrade)) upgrade();
    this.#parts.tally.upgrade('accepted');
  }

  #compressionOf({ extensions }: Handshake): Compression | undefined {
    const { compression } = this.#parts;
    return compression.enabled && extensions.includes('permessage-deflate') ? compression : undefined;
  }

  /** Who is banned may have to wait for the answer. */
  #turnAway(response: HttpResponse, stopped: Stopped): void {
    const { by } = stopped;
    if (by !== undefined) this.#parts.tally.refused(by);
    const answer = () => this.#refuse(response, stoppedRefusal(stopped));
    const banned = by === 'banned_identity' || by === 'banned_address';
    if (!banned || !this.#tarpit.hold(response, answer)) answer();
  }

  #refuse(response: HttpResponse, refusal: Refusal): void {
    this.#parts.tally.upgrade(refusal.outcome);
    refuse(response, refusal);
  }
}

function placeRefusal({ code, reason, limit, used, retryAfterMs }: ConnectRefusal): Refusal {
  return limited(code, reason, { limit, used, retryAfterMs });
}

function stoppedRefusal({ code, reason, retryAfterMs }: Stopped): Refusal {
  if (code === 'unavailable') return unavailable(reason, retryAfterMs);
  return STOPPED[code](reason);
}

const STOPPED: Readonly<Record<Exclude<Stopped['code'], 'unavailable'>, (reason: string) => Refusal>> = {
  unauthorized: REFUSALS.unauthorized,
  token_expired: REFUSALS.tokenExpired,
  forbidden: REFUSALS.forbidden,
  tenant_disabled: REFUSALS.tenantDisabled,
};
