import type { HttpRequest, HttpResponse, us_socket_context_t } from 'uWebSockets.js';
import type { ConnectRefusal } from '../broker/limits/admission.ts';
import type { Identity, Log, Resumption, TicketVerdict, TokenVerifier, Verdict } from '../broker/ports.ts';
import type { Limits } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import { addressOf, clientAddress } from './address.ts';
import type { Compression } from './compression.ts';
import { type SocketData, UwsConnection } from './connection.ts';
import { forwardedFor, type Handshake, type HandshakePolicy, isRefusal, readHandshake } from './handshake.ts';
import type { Networks } from './networks.ts';
import { limited, REFUSALS, type Refusal, refuse, unavailable } from './refusal.ts';

export interface UpgradeParts {
  readonly policy: HandshakePolicy;
  readonly proxyHops: number;
  readonly limits: Limits;
  readonly verifier: TokenVerifier;
  readonly tally: Tally;
  readonly log: Log;
  readonly networks: Networks;
  /** Milliseconds of any clock that only goes forward. */
  readonly nowMs: () => number;
  readonly compression: Compression;
  readonly draining: () => boolean;
  readonly openTicket: (ticket: string) => TicketVerdict;
  /** Whether the tenant has a place; asked in the turn of the upgrade. */
  readonly admit: (identity: Identity, resumes?: Resumption) => ConnectRefusal | undefined;
  /** Runs the task while a WebSocket holds the one cork buffer of uWebSockets.js. false: there is no WebSocket. */
  readonly besideCork: (task: () => void) => boolean;
}

/** A verified connection on its way to its open callback. */
export interface Admitted extends SocketData {
  readonly identity: Identity;
  readonly resumes: Resumption | undefined;
}

/** One handshake that waits for a signature check. */
interface Waiting {
  readonly response: HttpResponse;
  readonly context: us_socket_context_t;
  readonly handshake: Handshake;
  readonly address: string;
  done: boolean;
}

/**
 * Turns requests into WebSockets. A token seen before is decided in the same turn; another one is verified
 * aside, with everything that kills a naive asynchronous upgrade taken care of: header copies, `onAborted`,
 * no `cork`, and a timeout of our own, since uWebSockets.js has none for a pending response.
 */
export class Upgrades {
  readonly #parts: UpgradeParts;
  #pending = 0;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
  }

  handle(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    // An exception out of an HTTP handler ends the process, whatever listeners it has (rule 4).
    try {
      this.#handle(response, request, context);
    } catch (error) {
      this.#parts.log.error({ err: error }, 'handshake failed');
      this.#refuse(response, REFUSALS.internal('the server failed; the log has the cause'));
    }
  }

  #handle(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const address = this.#addressOf(response, request);
    const hasty = this.#attemptRefusal(address);
    if (hasty !== undefined) return this.#refuse(response, hasty);
    const handshake = readHandshake(request, this.#parts.policy);
    if (isRefusal(handshake)) return this.#refuse(response, handshake);
    const full = this.#fullRefusal(address);
    if (full !== undefined) return this.#refuse(response, full);
    const waiting: Waiting = { response, context, handshake, address, done: false };
    const { kind, text } = handshake.credential;
    if (kind === 'ticket') return this.#decide(waiting, this.#parts.openTicket(text));
    const known = this.#parts.verifier.known(text);
    if (known !== undefined) return this.#decide(waiting, known);
    const { pendingUpgrades } = this.#parts.limits;
    if (this.#pending < pendingUpgrades) return this.#verify(waiting);
    this.#refuse(response, REFUSALS.overloaded(`${pendingUpgrades} handshakes are being checked already`));
  }

  #addressOf(response: HttpResponse, request: HttpRequest): string {
    const { proxyHops } = this.#parts;
    const remote = addressOf(response.getRemoteAddressAsText());
    return proxyHops === 0 ? remote : clientAddress(remote, forwardedFor(request), proxyHops);
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

  #tenantRefusal(identity: Identity, resumes: Resumption | undefined): Refusal | undefined {
    const refusal = this.#parts.admit(identity, resumes);
    if (refusal === undefined) return undefined;
    const { status, code, reason, limit, used, retryAfterMs } = refusal;
    return status === 403
      ? REFUSALS.tenantDisabled(reason)
      : limited(code, reason, { limit, used, retryAfterMs });
  }

  #verify(waiting: Waiting): void {
    this.#pending++;
    const finish = () => {
      if (waiting.done) return false;
      waiting.done = true;
      this.#pending--;
      clearTimeout(timer);
      return true;
    };
    const timer = setTimeout(() => {
      if (finish())
        this.#refuse(waiting.response, REFUSALS.timeout('the token could not be checked in time'));
    }, this.#parts.limits.upgradeTimeoutMs);
    waiting.response.onAborted(() => {
      if (finish()) this.#parts.tally.upgrade('aborted');
    });
    this.#check(waiting.handshake.credential.text)
      .then(
        (verdict) => {
          if (finish()) this.#decide(waiting, verdict);
        },
        (error: unknown) => {
          this.#parts.log.error({ err: error }, 'token check failed');
          if (finish()) this.#refuse(waiting.response, REFUSALS.internal('the token could not be checked'));
        },
      )
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'handshake failed'));
  }

  /** A verifier that throws is one that rejects: thrown, it would leave a pending timer behind an answered response. */
  async #check(token: string): Promise<Verdict> {
    return this.#parts.verifier.verify(token);
  }

  #decide(waiting: Waiting, verdict: Verdict | TicketVerdict): void {
    if (!verdict.ok) return this.#refuse(waiting.response, verdictRefusal(verdict));
    // Again: others may have come, or a drain may have begun, while the token was being checked.
    const { response, handshake, context, address } = waiting;
    const { identity } = verdict;
    const resumes = 'resumes' in verdict ? verdict.resumes : undefined;
    const full = this.#fullRefusal(address) ?? this.#tenantRefusal(identity, resumes);
    if (full !== undefined) return this.#refuse(response, full);
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
    if (!this.#parts.besideCork(() => response.cork(upgrade))) upgrade();
    this.#parts.tally.upgrade('accepted');
  }

  #compressionOf({ extensions }: Handshake): Compression | undefined {
    const { compression } = this.#parts;
    return compression.enabled && extensions.includes('permessage-deflate') ? compression : undefined;
  }

  #refuse(response: HttpResponse, refusal: Refusal): void {
    this.#parts.tally.upgrade(refusal.outcome);
    refuse(response, refusal);
  }
}

function verdictRefusal(verdict: Exclude<Verdict, { ok: true }>): Refusal {
  if (verdict.code === 'token_expired') return REFUSALS.tokenExpired(verdict.reason);
  if (verdict.code === 'forbidden') return REFUSALS.forbidden(verdict.reason);
  if (verdict.code === 'unavailable') return unavailable(verdict.reason, verdict.retryAfterMs);
  return REFUSALS.unauthorized(verdict.reason);
}
