/** One connection to NATS, kept for as long as the process runs. */
import { readFileSync } from 'node:fs';
import {
  type Authenticator,
  AuthorizationError,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
  type Status,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from '@nats-io/nats-core';
import { connect, type NodeConnectionOptions } from '@nats-io/transport-node';
import { withNotice } from '../../broker/wait-notice.ts';
import type { Env } from './env.ts';
import type { NatsCredentials, NatsOptions } from './options.ts';
import type { Outlet } from './outlet.ts';
import type { Cancel } from './timers.ts';

export interface LinkEvents {
  /** Nothing that was sent in the last moments is sure to have arrived. */
  lost(): void;
  /** Connected again, subscriptions included. What was published meanwhile has not been heard. */
  back(): void;
}

/** The connection of the bus, lent to what shares it. */
export interface Link {
  readonly connection: NatsConnection;
  readonly outlet: Outlet;
  readonly connected: () => boolean;
  /** Connected, and what is sent is taken too. */
  readonly reachable: () => boolean;
  /** Those that share the connection name their streams here too. */
  readonly wider: Set<string>;
  watch(events: LinkEvents): Cancel;
}

/** Between two attempts at the start; later the client has its own rhythm. */
const RETRY_MS = 250;
/** The servers tell before they go (lame duck); not all nodes should leave in the same moment. */
const LEAVE_WITHIN_MS = 5000;

/**
 * Connects, or throws with the reason once `startTimeoutMs` is over; at once when the credentials are refused.
 */
export async function dial(
  name: string,
  inbox: string,
  options: NatsOptions,
  env: Env,
): Promise<NatsConnection> {
  const settings = connectionOptions(name, inbox, options);
  const servers = options.servers.map(withoutSecret).join(', ');
  const { startTimeoutMs } = options;
  const until = env.ticks() + startTimeoutMs;
  let last: string | undefined;
  const attempts = async () => {
    for (;;) {
      try {
        return await connect(settings);
      } catch (error) {
        last = reasonOf(error);
        if (error instanceof AuthorizationError)
          throw new Error(
            `NATS at ${servers} cannot be reached: it refuses the credentials (${last}). Look at nats.user, nats.password, nats.token, ` +
              'nats.nkeySeedFile and nats.credsFile, and at the users of the server.',
            { cause: error },
          );
        if (env.ticks() > until)
          throw new Error(
            `NATS at ${servers} cannot be reached: ${last}. It was tried for ${startTimeoutMs / 1000} s ` +
              '(nats.startTimeoutMs): look at nats.url, and whether the server runs.',
            { cause: error },
          );
        await env.sleep(RETRY_MS);
      }
    }
  };
  const wait = {
    what: `NATS at ${servers}`,
    why: () => last,
    fix: 'look at nats.url, at the network, and whether the server runs',
    givesUpMs: startTimeoutMs,
  };
  return withNotice(wait, { log: env.log, alarm: env.timers.after }, attempts);
}

/** Tells `events` of what happens to the connection, and the log of all that matters, until it is closed. */
export function follow(
  connection: NatsConnection,
  name: string,
  { log, timers, random }: Env,
  events: LinkEvents,
): void {
  const told = async () => {
    for await (const status of connection.status()) tell(status);
  };
  const tell = (status: Status) => {
    if (status.type === 'disconnect') {
      log.warn({ connection: name, server: withoutSecret(status.server) }, 'connection to NATS lost');
      events.lost();
    } else if (status.type === 'reconnect') {
      log.info({ connection: name, server: withoutSecret(status.server) }, 'connection to NATS is back');
      events.back();
    } else if (status.type === 'error') {
      log.error({ connection: name, err: status.error }, 'NATS reports an error');
    } else if (status.type === 'ldm') {
      log.info(
        { connection: name, server: withoutSecret(status.server) },
        'the NATS server is about to end: moving',
      );
      timers.after(random() * LEAVE_WITHIN_MS, () => void connection.reconnect());
    }
  };
  told().catch((error: unknown) =>
    log.error({ connection: name, err: error }, 'status of NATS is not followed any more'),
  );
}

export function connectionOptions(name: string, inbox: string, options: NatsOptions): NodeConnectionOptions {
  const { tls, servers } = options;
  const authenticator = authenticatorOf({ ...credentialsIn(servers), ...options.credentials });
  return {
    servers: servers.map(withoutSecret),
    name,
    inboxPrefix: inbox,
    // A live room's event is delivered here at once and must not come back; what the stream republishes does.
    noEcho: true,
    noAsyncTraces: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 500,
    reconnectJitterTLS: 500,
    timeout: options.connectTimeoutMs,
    pingInterval: options.pingIntervalMs,
    maxPingOut: 2,
    // Two refusals in a row would otherwise end reconnecting for good, a rotation of keys in between.
    ignoreAuthErrorAbort: true,
    ignoreClusterUpdates: !options.discover,
    ...(authenticator !== undefined && { authenticator }),
    // `tls://` must not end in plain text because a server offers nothing else.
    ...((tls !== undefined || servers.some((server) => server.startsWith('tls:'))) && { tls: { ...tls } }),
  };
}

/**
 * The files are read at each connect, so that they can be exchanged while the process runs. One that cannot be read
 * in that moment counts as unchanged: the client closes a connection for good when an authenticator throws.
 */
function fileReader(path: string): () => string {
  let last: string | undefined;
  return () => {
    try {
      last = `${readFileSync(path, 'utf8').trim()}\n`;
    } catch (error) {
      if (last === undefined) throw error;
    }
    return last;
  };
}

function authenticatorOf(credentials: NatsCredentials): Authenticator | undefined {
  const { user, password, token, nkeySeed, nkeySeedFile, credsFile } = credentials;
  if (credsFile !== undefined) {
    const creds = fileReader(credsFile);
    return credsAuthenticator(() => Buffer.from(creds()));
  }
  if (nkeySeedFile !== undefined) {
    const seed = fileReader(nkeySeedFile);
    return nkeyAuthenticator(() => Buffer.from(seed().trim()));
  }
  if (nkeySeed !== undefined) return nkeyAuthenticator(Buffer.from(nkeySeed));
  if (token !== undefined) return tokenAuthenticator(token);
  return user === undefined ? undefined : usernamePasswordAuthenticator(user, password);
}

/** What a URL holds before its `@`, `user:password` or a token; the client does not look for it there. */
function credentialsIn(servers: readonly string[]): NatsCredentials {
  const found = servers.map((server) => /\/\/([^/@]*)@/.exec(server)?.[1]).find((part) => part !== undefined);
  if (found === undefined) return {};
  const [user, password] = found.split(':').map(decodeURIComponent);
  return password === undefined ? { token: user ?? '' } : { user: user ?? '', password };
}

/** A server URL may hold `user:password@`. */
export function withoutSecret(server: string): string {
  return server.replace(/\/\/[^/@]*@/, '//');
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause.message : '';
  const said = error.message || error.name;
  return cause === '' || said.includes(cause) ? said : `${said}: ${cause}`;
}
