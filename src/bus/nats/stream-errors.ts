/** What an answer of JetStream about streams means: it passes, it is for good, and how it is told to a person. */
import { JetStreamApiError } from '@nats-io/jetstream';
import { PermissionViolationError, RequestError, TimeoutError } from '@nats-io/nats-core';

const NO_SUITABLE_PEERS = 10005;

/** Whether the same request may go well in a moment: no leader yet, not all servers there, no answer. */
export function isPassing(error: unknown): boolean {
  const cause = error instanceof Error && error.cause instanceof JetStreamApiError ? error.cause : error;
  if (cause instanceof JetStreamApiError) return cause.status === 503 || cause.code === NO_SUITABLE_PEERS;
  return cause instanceof TimeoutError || cause instanceof RequestError;
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function givenUp(names: string, last: string, timeoutMs: number, cause: unknown): Error {
  const tried = `It was tried for ${timeoutMs / 1000} s (nats.startTimeoutMs).`;
  return new Error(`${names} cannot be had of NATS: ${last}. ${tried}`, { cause });
}

export function isForbidden(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return error instanceof PermissionViolationError || cause instanceof PermissionViolationError;
}

/** Rights do not come by themselves: whoever starts the broker has to know at once. */
export function forbidden(error: unknown): Error {
  const [said] = reasonOf(error).split(': Permissions Violation');
  return new Error(
    `NATS does not allow this user what the streams need: ${said}. docs/operations/nats.md has the permissions.`,
    { cause: error },
  );
}
