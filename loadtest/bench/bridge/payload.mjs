/** What every message of the bench carries: its number and when it was sent, found again whatever surrounds them. */
export const MARK = '~#event#~';
const MARK_BYTES = Buffer.from(MARK);
const DIGITS = 9;
const CLOCK_DIGITS = 16;

/** Microseconds of the clock that all processes of one machine share. */
export function micros() {
  return Number(process.hrtime.bigint() / 1000n);
}

/** JSON text of `bytes` bytes. */
export function payloadText(number, bytes) {
  const value = `${MARK}${String(number).padStart(DIGITS, '0')}${String(micros()).padStart(CLOCK_DIGITS, '0')}`;
  return `"${value.padEnd(bytes - 2, 'x')}"`;
}

/** Calls back with number and time of sending of each message in these bytes. */
export function eachMessage(bytes, message) {
  for (let at = bytes.indexOf(MARK_BYTES); at >= 0; at = bytes.indexOf(MARK_BYTES, at + 1)) {
    const digits = at + MARK.length;
    message(
      Number(bytes.latin1Slice(digits, digits + DIGITS)),
      Number(bytes.latin1Slice(digits + DIGITS, digits + DIGITS + CLOCK_DIGITS)),
    );
  }
}
