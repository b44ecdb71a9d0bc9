/**
 * Bare publisher: `own` handles acks by one subscription and a map, `library` calls `js.publish`. Its parent tells
 * it what to run; the receiver says by NATS how far it is.
 */
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Flow } from '../flow.mjs';
import { payloadText } from '../payload.mjs';
import { creditsOf, dial, madeHeaders, makeStreams, subjectsOf } from './parts.mjs';

const ACK_WAIT_MS = 5000;

let flow;
let publish;
let run = 0;

function ownAcks(connection) {
  const inbox = '_INBOX_publisher.';
  const pending = new Map();
  connection.subscribe(`${inbox}*`, {
    callback: (error, msg) => {
      const number = Number.parseInt(msg.subject.slice(inbox.length), 36);
      if (error !== null || !pending.delete(number)) return;
      const ack = JSON.parse(
        Buffer.from(msg.data.buffer, msg.data.byteOffset, msg.data.byteLength).latin1Slice(),
      );
      if (typeof ack.seq !== 'number') throw new Error(`refused: ${JSON.stringify(ack)}`);
      flow.acked();
    },
  });
  return (subject, payload, number, id) => {
    pending.set(number, performance.now() + ACK_WAIT_MS);
    connection.publish(subject, payload, {
      reply: inbox + number.toString(36),
      headers: madeHeaders(`Nats-Msg-Id: ${id}\r\nCr: d ${Date.now()} bench ${id} -`),
    });
  };
}

function libraryAcks(connection) {
  const stream = jetstream(connection);
  return (subject, payload, _number, id) => {
    stream.publish(subject, payload, { msgID: id }).then(() => flow.acked());
  };
}

/** A live message is sent, and that is all. */
function noAcks(connection) {
  return (subject, payload, _number, id) => {
    connection.publish(subject, payload, { headers: madeHeaders(`Cr: d ${Date.now()} bench ${id} -`) });
    flow.acked();
  };
}

async function start({ prefix, servers, rooms, durable, library, replicas, payloadBytes }) {
  const connection = library ? await connect({ servers, noEcho: true }) : await dial(servers, 'publisher');
  if (durable) await makeStreams(connection, prefix, replicas);
  const subjects = subjectsOf(prefix, rooms);
  publish = (durable ? (library ? libraryAcks : ownAcks) : noAcks)(connection);
  flow = new Flow((from, count) => {
    for (let number = from; number < from + count; number++) {
      const { log, live } = subjects[number % subjects.length];
      publish(
        durable ? log : live,
        payloadText(number, payloadBytes),
        number,
        `${process.pid}-${run}-${number}`,
      );
    }
  });
  connection.subscribe(creditsOf(prefix), {
    callback: (_error, msg) => flow.receivedUpTo(Number(msg.string())),
  });
  await connection.flush();
}

process.on('message', async ({ setup, load }) => {
  try {
    if (setup !== undefined) {
      await start(setup);
      process.send({});
    } else {
      run++;
      process.send(await flow.run(load));
    }
  } catch (error) {
    process.send({ failed: String(error.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit(0));
