/**
 * Bare receiver: one core subscription per room on what the streams republish. Durable messages have their place and
 * the one before read and compared, payloads are copied; `library` reads headers by the client's own `headers`.
 */
import { connect } from '@nats-io/transport-node';
import { eachMessage, micros } from '../payload.mjs';
import { creditsOf, dial, headerText, numberAfter, subjectsOf } from './parts.mjs';

/** Messages between two words to the publisher, which bounds what is in flight. */
const CREDIT = 32;
const LATEST_MS = 10;

let connection;
let credits;
let received = 0;
let told = 0;
let holes = 0;
let measuring = false;
let latencies = [];
let telling;

function tell() {
  clearTimeout(telling);
  telling = undefined;
  told = received;
  connection.publish(credits, String(received));
}

function take(msg) {
  const payload = Buffer.from(msg.data);
  if (measuring) {
    const now = micros();
    eachMessage(payload, (_number, sentAt) => latencies.push(now - sentAt));
  }
  if (++received - told >= CREDIT) tell();
  // Not an interval: at 1,000 messages a second that would be a good part of what is measured.
  else telling ??= setTimeout(tell, LATEST_MS);
}

function placesOf(library, subject) {
  if (library)
    return (msg) => [
      Number(msg.headers.last('Nats-Sequence')),
      Number(msg.headers.last('Nats-Last-Sequence')),
    ];
  return (msg) => {
    const text = headerText(msg, subject.length);
    return [numberAfter(text, '\r\nNats-Sequence: '), numberAfter(text, '\r\nNats-Last-Sequence: ')];
  };
}

async function start({ prefix, servers, rooms, durable, library }) {
  credits = creditsOf(prefix);
  connection = library ? await connect({ servers, noEcho: true }) : await dial(servers, 'receiver');
  for (const { live } of subjectsOf(prefix, rooms)) {
    const places = placesOf(library, live);
    let last = 0;
    connection.subscribe(live, {
      callback: (_error, msg) => {
        if (durable) {
          const [seq, prev] = places(msg);
          if (last !== 0 && prev !== last) holes++;
          last = seq;
        }
        take(msg);
      },
    });
  }
  await connection.flush();
}

process.on('message', async ({ setup, begin, report }) => {
  if (setup !== undefined) await start(setup);
  if (begin !== undefined) {
    received = told = holes = 0;
    measuring = begin.measuring;
    latencies = [];
  }
  process.send(report === undefined ? {} : { received, holes, latencies });
});
process.on('disconnect', () => process.exit(0));
