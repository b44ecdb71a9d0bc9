import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Promised, STATUS, until } from './subject.ts';

const LARGE = 'x'.repeat(5000);

export function talkTests(promised: Promised): void {
  selfTests(promised);
  limitTests(promised);
  if (promised.traits.nodes > 1) peerTests(promised);
}

function selfTests({ promise, traits }: Promised): void {
  promise('the nodes begin with this one, and with its status', async ({ cluster }) => {
    const [self, ...others] = cluster.nodes();
    assert.equal(self?.node, cluster.node);
    assert.equal(self?.incarnation, cluster.incarnation);
    assert.deepEqual(self?.status, STATUS);
    assert.equal(others.length, traits.nodes - 1);
    assert.equal(cluster.connected, true);
    assert.equal(cluster.figures().nodes, traits.nodes);
  });

  promise('a node does not hear itself', async ({ cluster }) => {
    const heard: unknown[] = [];
    cluster.hear('news', (message) => heard.push(message));
    assert.equal(cluster.tell('news', { a: 1 }), 'sent');
    assert.equal(cluster.tellNode(cluster.node, 'news', { a: 1 }), 'sent');
    await sleep(50);
    assert.deepEqual(heard, []);
  });

  promise('a node answers its own questions, with copies', async ({ cluster }) => {
    const kept = { list: [1] };
    cluster.answer('mine', (question, from) => ({ question, from, kept }));
    const answer = await cluster.askNode(cluster.node, 'mine', { q: 'é\ud83d\ude00' }, 1000);
    assert.ok(answer.ok);
    const { question, from, kept: copy } = answer.answer as Record<string, unknown>;
    assert.deepEqual([question, from, copy], [{ q: 'é\ud83d\ude00' }, cluster.node, kept]);
    assert.notEqual(copy, kept);
  });

  promise('an answer of undefined is one: null', async ({ cluster }) => {
    cluster.answer('nothing', () => undefined);
    assert.deepEqual(await cluster.askNode(cluster.node, 'nothing', undefined, 1000), {
      ok: true,
      answer: null,
    });
  });

  promise('no answer, a failed one and a late one make a node missing', async ({ cluster }) => {
    cluster.answer('throws', () => {
      throw new Error('on purpose');
    });
    cluster.answer('rejects', () => Promise.reject(new Error('on purpose')));
    cluster.answer('late', () => sleep(300));
    for (const topic of ['unknown', 'throws', 'rejects', 'late']) {
      const began = performance.now();
      const { answers, missing } = await cluster.ask(topic, 1, 100);
      assert.equal(answers.has(cluster.node), false, topic);
      assert.ok(missing.includes(cluster.node), topic);
      assert.ok(performance.now() - began < 280, `${topic} took ${performance.now() - began} ms`);
    }
    assert.ok(cluster.figures().asks.partial >= 4);
  });

  promise('one answer for a topic, until it is withdrawn', async ({ cluster }) => {
    const withdraw = cluster.answer('a', () => 1);
    assert.throws(() => cluster.answer('a', () => 2), /already/);
    withdraw();
    withdraw();
    cluster.answer('a', () => 2);
    assert.deepEqual(await cluster.askNode(cluster.node, 'a', 0, 500), { ok: true, answer: 2 });
  });
}

function limitTests({ promise }: Promised): void {
  promise('what is too large is refused', async ({ cluster, peer }) => {
    assert.equal(cluster.tell('a', LARGE), 'too_large');
    cluster.answer('a', () => 1);
    peer === cluster || peer.answer('a', () => 1);
    assert.deepEqual(await cluster.askNode(peer.node, 'a', LARGE, 500), { ok: false, why: 'too_large' });
    const { answers, missing } = await cluster.ask('a', LARGE, 500);
    assert.equal(answers.size, 0);
    assert.deepEqual([...missing].sort(), [...new Set([cluster.node, peer.node])].sort());
    assert.ok(cluster.figures().tells.too_large > 0);
  });

  promise('topics of any text up to 256 characters', async ({ cluster }) => {
    for (const topic of ['', 'x'.repeat(257)]) {
      assert.throws(() => cluster.hear(topic, () => undefined), /topic/);
      assert.throws(() => cluster.tell(topic, 1), /topic/);
    }
  });

  promise('an unknown node is one', async ({ cluster }) => {
    assert.deepEqual(await cluster.askNode('nobody', 'a', 1, 500), { ok: false, why: 'unknown_node' });
  });
}

function peerTests({ promise }: Promised): void {
  promise('the others hear a tell, in order, with who told it', async ({ cluster, peer }) => {
    const topic = 'presence acme/room.*>\ud83d\ude00 é';
    const heard: unknown[] = [];
    const others: unknown[] = [];
    const stop = peer.hear(topic, (message, from) => heard.push([message, from]));
    peer.hear('presence acme', (message) => others.push(message));
    await sleep(50);
    for (let n = 0; n < 100; n++) cluster.tell(topic, { n });
    await until('100 heard', () => heard.length === 100);
    assert.deepEqual<unknown>(
      heard,
      Array.from({ length: 100 }, (_, n) => [{ n }, cluster.node]),
    );
    stop();
    stop();
    await sleep(20);
    cluster.tell(topic, 'unheard');
    await sleep(50);
    peer.hear(topic, (message) => heard.push(message));
    await sleep(50);
    cluster.tell(topic, 'again');
    await until('heard again', () => heard.length > 100);
    assert.deepEqual([heard.length, heard.at(-1), others], [101, 'again', []]);
  });

  promise('a tell to one node is heard there only by its topic', async ({ cluster, peer }) => {
    const heard: unknown[] = [];
    peer.hear('b', (message, from) => heard.push([message, from]));
    peer.hear('a', (message, from) => heard.push([message, from]));
    cluster.hear('a', (message) => heard.push(message));
    await sleep(50);
    assert.equal(cluster.tellNode(peer.node, 'a', [1]), 'sent');
    await until('heard', () => heard.length > 0);
    await sleep(20);
    assert.deepEqual(heard, [[[1], cluster.node]]);
  });

  promise('a listener that throws keeps nothing from the others', async ({ cluster, peer }) => {
    const heard: unknown[] = [];
    peer.hear('a', () => {
      throw new Error('on purpose');
    });
    peer.hear('a', (message) => heard.push(message));
    await sleep(50);
    cluster.tell('a', 1);
    cluster.tell('a', 2);
    await until('both heard', () => heard.length === 2);
  });

  promise('all nodes answer, and what is missing has a name', async ({ cluster, peer }) => {
    cluster.answer('who', () => 'here');
    peer.answer('who', async (question, from) => ({ question, from }));
    const { answers, missing } = await cluster.ask('who', 7, 1000);
    assert.deepEqual(missing, []);
    assert.deepEqual(answers.get(cluster.node), 'here');
    assert.deepEqual(answers.get(peer.node), { question: 7, from: cluster.node });
    assert.equal(cluster.figures().asks.whole, 1);
    assert.equal(peer.figures().asks.answered, 1);
    cluster.answer('half', () => 1);
    const began = performance.now();
    const half = await cluster.ask('half', 0, 3000);
    assert.deepEqual([[...half.answers.keys()], half.missing], [[cluster.node], [peer.node]]);
    assert.ok(performance.now() - began < 1000, 'a node without an answer says so at once');
  });

  promise('one node answers', async ({ cluster, peer }) => {
    peer.answer('who', (question) => [question]);
    assert.deepEqual(await cluster.askNode(peer.node, 'who', 'x', 1000), { ok: true, answer: ['x'] });
    assert.deepEqual(await cluster.askNode(peer.node, 'unknown', 'x', 1000), {
      ok: false,
      why: 'unanswered',
    });
  });

  promise('an answer that is too large makes its node missing', async ({ cluster, peer }) => {
    peer.answer('a', () => LARGE);
    assert.deepEqual(await cluster.askNode(peer.node, 'a', 1, 1000), { ok: false, why: 'unanswered' });
  });
}
