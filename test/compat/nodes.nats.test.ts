/** What a newer node says is no trouble for an older one: fields, kinds, topics and headers that it does not know. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { headers } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { ClusterSubjects } from '../../src/bus/nats/cluster/names.ts';
import { until } from '../contract/cluster/subject.ts';
import { QUIET } from '../support/log.ts';
import { newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { startNode } from '../support/nats/nodes.ts';

const nats = await NatsCluster.start(1);
after(() => nats.close());

test('a node of the next version: its heartbeat, its messages, its questions', async (t) => {
  const prefix = newPrefix();
  const errors: string[] = [];
  const log = { ...QUIET, error: (_: object, message: string) => void errors.push(message) };
  const node = await startNode(nats.urls, { options: { prefix }, node: 'old', log });
  t.after(() => node.close());
  const { cluster } = node;
  const next = await connect({ servers: nats.urls });
  t.after(() => next.close());
  const subjects = new ClusterSubjects(prefix);
  const say = (subject: string, value: unknown) => {
    const news = headers();
    news.set('Carillon-Next', '1');
    next.publish(subject, JSON.stringify(value), { headers: news });
  };

  const status = { connections: 1, acceptsPerSecond: 2, loopLagMs: 3, draining: false, mood: 'fine' };
  const beat = { node: 'new', incarnation: 'i1', startedAt: 1, status, head: 0, version: '9.0.0' };
  say(subjects.beat, { kind: 'hello', ...beat });
  await until('it is known', () => cluster.nodes().some((one) => one.node === 'new'));
  say(subjects.beat, { kind: 'shrug', ...beat, status: { ...status, connections: 7 } });
  await until('a kind of heartbeat that is unknown is one', () =>
    cluster.nodes().some((one) => one.status.connections === 7),
  );

  const heard: unknown[] = [];
  cluster.hear('known', (message) => heard.push(message));
  cluster.answer('question', (question) => question);
  await node.bus.link().connection.flush();
  say(subjects.tell('known'), ['new', { a: 1, later: 2 }, { trace: 1 }]);
  say(subjects.one('old'), ['tell', 'new', 'known', 2, 'more']);
  await until('what is known of it is heard', () => heard.length === 2);
  assert.deepEqual(heard, [{ a: 1, later: 2 }, 2]);

  say(subjects.one('old'), ['tell', 'new', 'never-heard-of', 1]);
  say(subjects.one('old'), ['wave', 'new', 'known', 1]);
  await until('the rest is counted', () => cluster.figures().tells.ignored === 2);
  assert.equal(cluster.figures().tells.heard, 2);

  const asked = (topic: string) =>
    next.request(subjects.one('old'), JSON.stringify(['ask', 'new', topic, { q: 1, later: 2 }, 'more']));
  assert.deepEqual((await asked('question')).json(), ['old', { q: 1, later: 2 }]);
  assert.deepEqual((await asked('never-heard-of')).json(), ['old'], 'no answer, told at once');
  assert.deepEqual(errors, []);
});
