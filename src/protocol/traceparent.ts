/** W3C Trace Context, version 00: of 55 characters, so that there is nothing more to bound. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

export const TRACEPARENT_LENGTH = 55;

/** Whether it is a `traceparent`: trace and span in lower-case hex, neither of them zero, and flags. */
export function isTraceparent(value: unknown): value is string {
  return typeof value === 'string' && value.length === TRACEPARENT_LENGTH && TRACEPARENT.test(value);
}
