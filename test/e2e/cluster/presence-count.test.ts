/** Rooms too large for names, over three brokers: counts, a query for some users, a broker that dies, and back to names. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import type { PresenceUpdateFrame } from '../../../src/protocol/frames.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const HEARTBEAT_MS = 500;
const MISSED = 3;
const ROOM = 'crowd';

type Frame = PresenceUpdateFrame & { readonly id?: string };

/** A member, which hears of presence if it asks. */
class Member {
  readonly #socket: WebSocket;
  readonly frames: Frame[] = [];
  readonly joined: Promise<unknown>;
  #waiting: (() => void) | undefined;

  constructor(url: string, token: string, presence: boolean) {
    this.#socket = new WebSocket(url, ['chat.v1', `bearer.${token}`]);
    this.#socket.on('error', () => undefined);
    this.#socket.once('open', () => this.send({ type: 'join', room: ROOM, presence }));
    this.joined = new Promise((resolve) => {
      this.#socket.on('message', (data) => {
        for (const frame of [JSON.parse(String(data))].flat()) {
          if (frame.type === 'joined') resolve(frame);
          if (frame.type === 'joined' || frame.type === 'presence') this.frames.push(frame);
        }
        this.#waiting?.();
      });
    });
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  close(): void {
    this.#socket.close(1000);
  }

  /** The first frame, of those to come or there already, for which it holds. */
  async heard(holds: (frame: Frame) => boolean, what: string): Promise<Frame> {
    const deadline = performance.now() + 15_000;
    for (;;) {
      const found = this.frames.find(holds);
      if (found !== undefined) return found;
      const left = deadline - performance.now();
      if (left <= 0)
        throw new Error(`${what}: not within 15 s; last ${JSON.stringify(this.frames.slice(-3))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

describe('a room too large for names, over three brokers', () => {
  let nats: NatsCluster;
  let pods: Pod[] = [];
  const members = new Map<string, Member>();

  before(async () => {
    nats = await NatsCluster.start(1);
    const config = {
      nats: { url: nats.urls },
      presence: { fullMembers: 3, deltaMembers: 6, graceMs: '4s', batchMs: '20ms' },
      cluster: { heartbeatMs: `${HEARTBEAT_MS}ms`, missed: MISSED },
    };
    pods = await startPods({ count: 3, natsUrls: nats.urls, config });
  });

  after(async () => {
    for (const member of members.values()) member.close();
    await Promise.all(pods.map((pod) => pod.close()));
    await nats?.close();
  });

  async function join(user: string, home: number, presence = false): Promise<Member> {
    const pod = pods[home] as Pod;
    const member = new Member(pod.url, await pod.broker.token({ sub: user }), presence);
    members.set(`${user} ${home}`, member);
    await member.joined;
    return member;
  }

  test('C4.8.5 counts, a query, a death, and names again', async () => {
    const watcher = await join('watcher', 0, true);
    for (let at = 0; at < 4; at++) await join(`a${at}`, 1);
    for (let at = 0; at < 4; at++) await join(`b${at}`, 2);
    // On two brokers: one member.
    await join('a0', 2);
    await watcher.heard(({ mode, count }) => mode === 'count' && count === 9, 'nine, as a count');

    watcher.send({ type: 'presence', room: ROOM, id: 'who', users: ['a3', 'nobody', 'b2', 'watcher'] });
    const { users, mode, partial } = await watcher.heard(({ id }) => id === 'who', 'the answer');
    assert.deepEqual([users, mode, partial], [['a3', 'b2', 'watcher'], 'count', undefined]);

    const late = await join('late', 1, true);
    assert.deepEqual([late.frames[0]?.mode, late.frames[0]?.partial], ['count', undefined]);
    await watcher.heard(({ count }) => count === 10, 'the latecomer');

    watcher.frames.length = 0;
    const killedAt = performance.now();
    await pods[1]?.kill();
    await watcher.heard(({ count }) => count === 6, 'those on the dead broker alone');
    const ms = performance.now() - killedAt;
    assert.ok(ms < HEARTBEAT_MS * MISSED + 1500, `known after ${Math.round(ms)} ms`);
    assert.deepEqual(
      watcher.frames.map(({ mode, count }) => `${mode} ${count}`),
      ['count 6'],
      'at once, and once',
    );

    watcher.frames.length = 0;
    for (const user of ['b0 2', 'b1 2', 'a0 2']) members.get(user)?.close();
    await watcher.heard((frame) => frame.mode !== 'count', 'names');
    await watcher.heard(({ count }) => count === 3, 'three are left');
    await join('fresh', 2);
    await watcher.heard(({ joined }) => (joined?.length ?? 0) > 0, 'the next to join');
    assert.deepEqual(
      watcher.frames.flatMap(({ joined = [], left = [] }) => [...joined.map(({ user }) => user), ...left]),
      ['fresh'],
      'nobody is said to have left or joined by the change of mode',
    );
  });
});
