/** The events in a frame of chat.v1, without parsing their payloads: a load generator reads 200 MB a second. */

const MARK = Buffer.from('{"type":"');
const EVENT = 0x65; // e of event
const SECOND = 0x76; // v of event: not that of error
const HEAD = /"seq":(\d+),"prev":(\d+),.*?"t":(\d+)/;
/** Room, sender, key and message id are short here, and `t` begins the payload. */
const HEAD_BYTES = 320;

/**
 * Calls `event(seq, prev, t)` for each event and `other(frame)` for everything else, in order. Payloads begin with
 * `{"t":<microseconds>` and hold no text that looks like a frame.
 */
export function eachFrame(bytes, { event, other }) {
  if (!onlyEvents(bytes)) {
    const message = JSON.parse(bytes.toString());
    for (const frame of Array.isArray(message) ? message : [message]) {
      if (frame.type === 'event') event(frame.seq, frame.prev, frame.payload.t);
      else other(frame);
    }
    return;
  }
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + MARK.length)) {
    const head = HEAD.exec(bytes.latin1Slice(at, Math.min(bytes.length, at + HEAD_BYTES)));
    if (head === null) throw new Error(`an event without a place: ${bytes.latin1Slice(at, at + HEAD_BYTES)}`);
    event(Number(head[1]), Number(head[2]), Number(head[3]));
  }
}

function onlyEvents(bytes) {
  for (let at = bytes.indexOf(MARK); at >= 0; at = bytes.indexOf(MARK, at + MARK.length)) {
    if (bytes[at + MARK.length] !== EVENT || bytes[at + MARK.length + 1] !== SECOND) return false;
  }
  return true;
}

/** Microseconds since 1970, the same for all processes of the machine. */
export function micros() {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
