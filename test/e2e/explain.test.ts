/** What became of a message, by a real broker over real sockets: each fate once, asked by the call and by the command. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Explained } from '../../src/broker/fate/verdict.ts';
import { type Client, fresh, suite } from './conformance/client.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
type Question = Readonly<Record<string, string | number | undefined>>;

const ADMIN = 'an-admin-token-that-only-this-test-uses';

const tests = suite({
  env: { CARILLON_ADMIN_TOKEN: ADMIN },
  config: {
    rooms: [
      { match: 'live:**' },
      { match: 'short:**', history: { count: 2 } },
      { match: '**', history: { count: 10_000, age: '10m', bytes: '256MiB' } },
    ],
    limits: { bufferedSoftBytes: '512KiB', bufferedHardBytes: '4MiB', catchUpBytes: '128KiB' },
  },
});

const user = (name: string) => tests.connect({ claims: { sub: name } });

async function explain(question: Question): Promise<{ status: number; body: Explained & { code?: string } }> {
  const query = new URLSearchParams(Object.entries(question).map(([name, value]) => [name, String(value)]));
  const headers = { authorization: `Bearer ${ADMIN}` };
  const response = await fetch(`${tests.broker.adminUrl}/admin/v1/explain?${query}`, { headers });
  return { status: response.status, body: (await response.json()) as Explained };
}

async function verdict(question: Question): Promise<Explained> {
  const { status, body } = await explain(question);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

/** The only session that is told of, with its fate. */
async function fate(question: Question, expected: string): Promise<Explained['sessions'][number]> {
  const { sessions, verdict: word } = await verdict(question);
  const [session] = sessions;
  assert.ok(session !== undefined && sessions.length === 1, JSON.stringify(sessions));
  assert.deepEqual([word, session.fate], [expected, expected], JSON.stringify(session));
  return session;
}

function cli(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { adminUrl } = tests.broker;
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      ['dist/cli.js', 'explain', 'message', '--admin', adminUrl, ...args],
      { cwd: ROOT, env: { ...process.env, CARILLON_ADMIN_TOKEN: ADMIN } },
      (_, stdout, stderr) => done({ code: child.exitCode, stdout, stderr }),
    );
  });
}

test('handed over: when, to which session; and how it is asked', async () => {
  const room = fresh();
  const [ann, bob] = [await user('h-ann'), await user('h-bob')];
  await bob.join(room);
  const before = Date.now();
  const { seq, epoch } = await ann.pub(room, 1, { msgId: 'm-1' });
  await bob.expect('event');
  const said = await verdict({ room, user: 'h-bob', seq });
  const [session] = said.sessions;
  assert.deepEqual(
    [said.verdict, said.missing, session?.session, session?.unsent],
    ['handed', [], bob.info.session, 0],
  );
  assert.ok((session?.at ?? 0) >= before && (session?.at ?? 0) <= Date.now());
  assert.deepEqual({ ...said.message, ts: 0 }, { seq, epoch, ts: 0, from: 'h-ann', msgId: 'm-1' });
  assert.deepEqual((await verdict({ room, user: 'h-bob', msgId: 'm-1' })).sessions, said.sessions);
  const run = await cli('--room', room, '--user', 'h-bob', '--msg-id', 'm-1');
  assert.equal(run.code, 0, run.stderr);
  assert.match(
    run.stdout,
    /^handed\n {2}message \d+ of .*, from h-ann\n {2}session \S+ on \S+: handed to its socket at 20/,
  );
  const json = await cli('--room', room, '--user', 'h-bob', '--seq', String(seq), '--json');
  assert.equal((JSON.parse(json.stdout) as Explained).verdict, 'handed');
  assert.equal((await cli('--room', room, '--user', 'h-ann', '--seq', String(seq))).code, 2);
  assert.equal((await cli('--room', room, '--user', 'x')).code, 64);
});

test('a live room: by msgId, since no history has it; publishers who asked not to get their own', async () => {
  const room = fresh('live:room');
  const [ann, bob] = [await user('l-ann'), await user('l-bob')];
  await Promise.all([ann.join(room), bob.join(room)]);
  await ann.pub(room, 1, { msgId: 'quiet', echo: false });
  await bob.expect('event');
  await fate({ room, user: 'l-bob', msgId: 'quiet' }, 'handed');
  await fate({ room, user: 'l-ann', msgId: 'quiet' }, 'own');
  await ann.pub(room, 2, { msgId: 'now', ephemeral: true });
  await fate({ room, user: 'l-bob', msgId: 'now' }, 'handed');
  assert.equal((await verdict({ room, user: 'l-bob', msgId: 'never' })).verdict, 'unknown');
});

test('not in the room: not yet, not any more, not at all, not allowed; not connected', async () => {
  const room = fresh();
  const [ann, late, gone, other, barred] = [
    await user('n-ann'),
    await user('n-late'),
    await user('n-gone'),
    await user('n-other'),
    await tests.connect({ claims: { sub: 'n-barred', rooms: [] } }),
  ];
  await other.join(fresh());
  await gone.join(room);
  await gone.ask({ type: 'leave', room }, 'left');
  await barred.refused({ type: 'join', room }, 'forbidden');
  const { seq } = await ann.pub(room, 1);
  await late.join(room);
  const joined = await fate({ room, user: 'n-late', seq }, 'before_join');
  assert.equal(joined.resumed, false);
  assert.ok((joined.joinedAt ?? 0) > 0);
  await fate({ room, user: 'n-gone', seq }, 'left');
  await fate({ room, user: 'n-other', seq }, 'not_joined');
  assert.equal((await fate({ room, user: 'n-barred', seq }, 'not_joined')).code, 'forbidden');
  assert.equal((await verdict({ room, user: 'n-nobody', seq })).verdict, 'not_connected');
  assert.equal((await verdict({ room, user: 'n-late', seq: seq + 1000 })).verdict, 'no_such_message');
  const { status, body } = await explain({ room, user: 'n-late', seq, msgId: 'x' });
  assert.deepEqual([status, body.code], [400, 'bad_request']);
});

test('thrown out of the room: by whom', async () => {
  const room = fresh();
  const [ann, bob] = [await user('t-ann'), await user('t-bob')];
  await bob.join(room);
  const closed = await fetch(`${tests.broker.adminUrl}/admin/v1/rooms/${room}/close`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN}` },
    body: JSON.stringify({ tenant: 'default' }),
  });
  assert.equal(closed.status, 200);
  await bob.expect('left');
  const { seq } = await ann.pub(room, 1);
  assert.equal((await fate({ room, user: 't-bob', seq }, 'left')).code, 'room_closed');
});

test('gone and back: replayed, told as a gap where retention has cut it, or said by the client to be known', async () => {
  const room = fresh('short:room');
  const [ann, bob] = [await user('r-ann'), await user('r-bob')];
  const { epoch, seq: start } = await bob.join(room);
  await bob.close();
  const seqs: number[] = [];
  for (const n of [1, 2, 3, 4]) seqs.push((await ann.pub(room, n)).seq);
  const [, , third, fourth] = seqs as [number, number, number, number];
  assert.equal((await verdict({ room, user: 'r-bob', seq: fourth })).verdict, 'left');
  const again = await user('r-bob');
  await again.join(room, { since: { epoch, seq: start } });
  await again.until('caught_up');
  const { sessions, verdict: word } = await verdict({ room, user: 'r-bob', seq: third });
  assert.deepEqual([word, sessions.map((session) => session.fate)], ['replayed', ['left', 'replayed']]);
  assert.equal(sessions[0]?.closed?.code, 1005);
  const lost = await verdict({ room, user: 'r-bob', seq: seqs[0] });
  assert.equal(lost.verdict, 'gap');
  const { from, to, reason } = lost.sessions[1] ?? {};
  assert.deepEqual([from, to, reason], [start, seqs[1], 'retention']);
  const knows = await user('r-knows');
  await knows.join(room, { since: { epoch, seq: fourth } });
  assert.equal((await fate({ room, user: 'r-knows', seq: third }, 'before_join')).resumed, true);
});

test('refused: to whoever asks, by the msgId', async () => {
  const room = fresh();
  const [ann, bob] = [
    await tests.connect({ claims: { sub: 'p-ann', rooms: [{ match: '**', allow: ['join'] }] } }),
    await user('p-bob'),
  ];
  await bob.join(room);
  await ann.refused({ type: 'pub', room, payload: 1, msgId: 'no' }, 'forbidden');
  const said = await verdict({ room, user: 'p-bob', msgId: 'no' });
  assert.equal(said.verdict, 'refused');
  assert.deepEqual(
    said.refused.map(({ user: who, code }) => [who, code]),
    [['p-ann', 'forbidden']],
  );
  const run = await cli('--room', room, '--user', 'p-bob', '--msg-id', 'no');
  // Nothing of sessions: p-bob has one, and was asked about a message that there never was.
  assert.match(run.stdout, /^refused\n {2}refused at \S+ on \S+: forbidden, from p-ann\n$/);
  const api = await fetch(`${tests.broker.httpUrl}/api/v1/publish`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN}` },
    body: JSON.stringify({ tenant: 'default', room, payload: 'x'.repeat(70_000), msgId: 'big' }),
  });
  assert.equal(api.status, 413);
  const big = await verdict({ room, user: 'p-bob', msgId: 'big' });
  assert.deepEqual([big.verdict, big.refused.map(({ code }) => code)], ['refused', ['payload_too_large']]);
  assert.equal((await verdict({ tenant: 'other', room, user: 'p-bob', msgId: 'big' })).verdict, 'unknown');
});

test('seen: by the word of the user', async () => {
  const [ann, bob] = [await user('s-ann'), await user('s-bob')];
  await bob.join('@s-bob');
  const { seq } = await ann.pub('@s-bob', 1);
  await bob.until('event');
  await fate({ room: '@s-bob', user: 's-bob', seq }, 'handed');
  bob.send({ type: 'seen', rooms: { '@s-bob': seq } });
  await bob.fence();
  const said = await verdict({ room: '@s-bob', user: 's-bob', seq });
  assert.deepEqual([said.verdict, said.seen?.seq, said.sessions[0]?.fate], ['seen', seq, 'handed']);
});

/** More than the kernel's buffers on both sides and the soft limit hold. */
const EVENTS = 500;
const PAYLOAD = 'x'.repeat(32 * 1024);

async function fill(publisher: Client, room: string): Promise<number[]> {
  const seqs: number[] = [];
  for (let at = 0; at < EVENTS; at++)
    seqs.push((await publisher.pub(room, PAYLOAD, { key: `k${at % 3}` })).seq);
  return seqs;
}

test('readers that are too slow: waiting, told as a gap, cut off, and what of it lay in the socket', {
  timeout: 60_000,
}, async () => {
  const room = fresh();
  const publisher = await user('o-pub');
  const readers = await Promise.all(
    (['backfill', 'skip', 'close'] as const).map(async (overflow) => {
      const reader = await user(`o-${overflow}`);
      await reader.join(room, { overflow });
      reader.socket.pause();
      return reader;
    }),
  );
  const [backfill, skip, close] = readers as [Client, Client, Client];
  const seqs = await fill(publisher, room);
  const [first, last] = [seqs[0] as number, seqs.at(-1) as number];

  const early = await fate({ room, user: 'o-backfill', seq: first }, 'handed');
  assert.ok((early.unsent ?? 0) > 0, 'some of what was handed over waits in the socket');
  await fate({ room, user: 'o-backfill', seq: last }, 'pending');
  await publisher.pub(room, 1, { msgId: 'o-now', ephemeral: true });
  // Nobody is on the topic: nobody gets it, and it is not kept.
  await fate({ room, user: 'o-backfill', msgId: 'o-now' }, 'missed');
  backfill.socket.terminate();
  const slow = await fate({ room, user: 'o-close', seq: last }, 'left');
  assert.equal(slow.closed?.code, 4102);
  const lost = await fate({ room, user: 'o-close', seq: first }, 'handed');
  assert.ok((lost.unsent ?? 0) > 0, 'what was unsent when it was closed');

  await fate({ room, user: 'o-skip', seq: last }, 'pending');
  skip.socket.resume();
  const gap = (await skip.until('gap')).at(-1);
  const told = await fate({ room, user: 'o-skip', seq: last }, 'gap');
  assert.deepEqual([told.from, told.to, told.reason], [gap?.from, gap?.to, 'backpressure']);
  close.socket.terminate();
  await skip.fence();
  assert.equal((await fate({ room, user: 'o-backfill', seq: last }, 'cut_off')).closed?.code, 1006);
});
