/** A chat.v1 client for k6: frames in and out, batches taken apart, and a check of every room's prev chain. */
import { Counter, Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';

/** Names are the thresholds' names. */
export const events = new Counter('carillon_events');
export const published = new Counter('carillon_published');
export const acks = new Counter('carillon_acks');
export const gaps = new Counter('carillon_gaps');
export const errors = new Counter('carillon_errors');
/** Milliseconds from the publisher's send to this receiver, over one clock: all on one machine. */
export const latency = new Trend('carillon_latency', true);

export class Chat {
  /** `on[type](frame)` runs for each server frame of that type; `on.closed(code)` at the end. */
  constructor(url, token, on = {}) {
    this.on = on;
    this.last = new Map();
    this.since = new Map();
    this.leaving = false;
    this.socket = new WebSocket(url, ['chat.v1', `bearer.${token}`]);
    this.socket.onmessage = ({ data }) => {
      const parsed = JSON.parse(data);
      for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.receive(frame);
    };
    this.socket.onerror = ({ error }) => {
      if (!this.leaving) this.fault(`socket: ${error}`);
    };
    this.socket.onclose = ({ code }) => {
      if (!this.leaving) this.fault(`closed by the server with ${code}`);
      on.closed?.(code);
    };
  }

  send(frame) {
    this.socket.send(JSON.stringify(frame));
  }

  /** `since`: a position to resume from. */
  join(room, since) {
    if (since !== undefined) this.since.set(room, since);
    this.send({ type: 'join', room, since });
  }

  publish(room, payload, msgId) {
    published.add(1);
    this.send({ type: 'pub', room, msgId, payload: { at: Date.now(), ...payload } });
  }

  close() {
    this.leaving = true;
    this.socket.close(1000);
  }

  receive(frame) {
    if (frame.type === 'joined') this.joined(frame);
    else if (frame.type === 'event') this.event(frame);
    else if (frame.type === 'ack') acks.add(1);
    else if (frame.type === 'gap') this.gap(frame.room, frame.from, frame.to);
    else if (frame.type === 'error') this.fault(`error ${frame.code}: ${frame.reason}`);
    this.on[frame.type]?.(frame);
  }

  /** Resumed: the chain goes on from where this client left. */
  joined({ room, recovered, seq }) {
    this.last.set(room, recovered === 'full' ? this.since.get(room).seq : seq);
  }

  event(frame) {
    const last = this.last.get(frame.room);
    if (frame.prev !== last) this.gap(frame.room, last, frame.prev);
    this.last.set(frame.room, frame.seq);
    events.add(1);
    if (frame.payload.at !== undefined) latency.add(Date.now() - frame.payload.at);
  }

  gap(room, from, to) {
    gaps.add(1);
    console.error(`gap in ${room}: ${from} to ${to}`);
  }

  fault(text) {
    errors.add(1);
    console.error(text);
  }
}
