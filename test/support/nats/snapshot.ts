/** Backup and restore of a stream by the API that `nats stream backup` and `nats stream restore` use. */
import { createInbox, type NatsConnection } from '@nats-io/nats-core';

export interface Snapshot {
  readonly config: object;
  readonly state: object;
  readonly chunks: readonly Uint8Array[];
}

interface ApiAnswer {
  readonly error?: { readonly description: string };
  readonly config: object;
  readonly state: object;
  readonly deliver_subject: string;
}

async function call(connection: NatsConnection, subject: string, body: object): Promise<ApiAnswer> {
  const answer = await connection.request(`$JS.API.STREAM.${subject}`, JSON.stringify(body), {
    timeout: 10_000,
  });
  const value = answer.json<ApiAnswer>();
  if (value.error !== undefined) throw new Error(`${subject}: ${value.error.description}`);
  return value;
}

export async function backup(connection: NatsConnection, stream: string): Promise<Snapshot> {
  const inbox = createInbox();
  const arriving = connection.subscribe(inbox);
  const { config, state } = await call(connection, `SNAPSHOT.${stream}`, { deliver_subject: inbox });
  const chunks: Uint8Array[] = [];
  for await (const message of arriving) {
    // The last one is empty.
    if (message.data.length === 0) break;
    chunks.push(message.data);
    message.respond();
  }
  return { config, state, chunks };
}

export async function restore(
  connection: NatsConnection,
  stream: string,
  { config, state, chunks }: Snapshot,
): Promise<void> {
  const { deliver_subject: to } = await call(connection, `RESTORE.${stream}`, { config, state });
  for (const chunk of chunks) await connection.request(to, chunk, { timeout: 10_000 });
  const done = await connection.request(to, '', { timeout: 10_000 });
  const { error } = done.json<Partial<ApiAnswer>>();
  if (error !== undefined) throw new Error(`RESTORE.${stream}: ${error.description}`);
}
