/** A start that cannot go on says within two seconds what it waits for and why, or ends with a sentence for a person. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SECRET = 'a key that only these tests use, 32 bytes or more';

const SMALL = {
  CARILLON_NATS__PREFIX: newPrefix(),
  CARILLON_NATS__SHARDS: '1',
  CARILLON_NATS__STREAMBYTES: '16MiB',
};

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly waitsFor?: string;
  readonly why?: string;
  readonly waitedMs?: number;
  readonly reason?: string;
  readonly err?: unknown;
}

class Start {
  readonly lines: Line[] = [];
  stderr = '';
  readonly exited: Promise<number | null>;
  readonly #wanted: { readonly fits: (line: Line) => boolean; readonly found: (line: Line) => void }[] = [];

  constructor(context: TestContext, env: Readonly<Record<string, string>>) {
    const child = spawn(process.execPath, ['dist/main.js'], {
      cwd: ROOT,
      env: {
        ...process.env,
        CARILLON_LISTEN: '127.0.0.1:0',
        CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
        CARILLON_JWT_SECRET: SECRET,
        ...(env['CARILLON_NATS__URL'] !== undefined && SMALL),
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    context.after(() => child.kill('SIGKILL'));
    this.exited = once(child, 'close').then(([code]) => code as number | null);
    child.stderr.on('data', (text) => {
      this.stderr += String(text);
    });
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      this.lines.push(line);
      for (const { fits, found } of this.#wanted) if (fits(line)) found(line);
    });
  }

  line(fits: (line: Line) => boolean): Promise<Line> {
    const known = this.lines.find(fits);
    if (known !== undefined) return Promise.resolve(known);
    const ended = this.exited.then((code) => Promise.reject(new Error(`ended with ${code}: ${this.stderr}`)));
    return Promise.race([new Promise<Line>((found) => this.#wanted.push({ fits, found })), ended]);
  }

  /** Ends with one sentence for a person and one line for a program, neither with a stack. */
  async refused(reason: RegExp): Promise<void> {
    assert.equal(await this.exited, 1);
    assert.match(this.stderr, /^carillon: the broker could not start: .*\n$/);
    assert.match(this.stderr, reason);
    const fatal = this.lines.filter(({ level }) => level === 'fatal');
    assert.equal(fatal.length, 1);
    assert.match(fatal[0]?.reason ?? '', reason);
    assert.equal(fatal[0]?.err, undefined);
  }

  /** Waits, says so after a second, and then ever more rarely. */
  async waits(what: RegExp, why: RegExp): Promise<void> {
    const first = await this.line(({ waitsFor = '' }) => what.test(waitsFor));
    assert.equal(first.level, 'warn');
    assert.equal(first.waitedMs, 1000);
    const second = await this.line((line) => line.waitsFor === first.waitsFor && line.waitedMs === 3000);
    assert.match(second.why ?? '', why);
    assert.equal(second.msg, `the start waits for ${second.waitsFor}: ${second.why}`);
    const told = this.lines.filter(({ level }) => level !== 'info').length;
    assert.ok(told <= 4, `${told} lines in three seconds`);
  }
}

async function nats(context: TestContext, setup: { extra?: string; jetstream?: boolean } = {}) {
  const cluster = await NatsCluster.start(1, setup);
  context.after(() => cluster.close());
  return cluster;
}

test('NATS that cannot be reached, and one that hangs', async (context) => {
  const closed = new Start(context, { CARILLON_NATS__URL: 'nats://127.0.0.1:1' });
  const hanging = createServer(() => undefined).listen(0, '127.0.0.1');
  context.after(() => hanging.close());
  await once(hanging, 'listening');
  const { port } = hanging.address() as { port: number };
  const deaf = new Start(context, { CARILLON_NATS__URL: `nats://127.0.0.1:${port}` });
  await Promise.all([
    closed.waits(/^NATS at nats:\/\/127\.0\.0\.1:1$/, /refused/),
    deaf.waits(/^NATS at /, /timeout|no answer/i),
  ]);
});

test('NATS whose streams have no leader', async (context) => {
  const cluster = await NatsCluster.start(3);
  context.after(() => cluster.close());
  for (const at of [1, 2]) await cluster.server(at).kill();
  const start = new Start(context, { CARILLON_NATS__URL: cluster.server(0).url });
  await start.waits(/^the stream /, /JetStream|timeout|responder/i);
});

test('an issuer whose keys do not come', async (context) => {
  const hanging = createServer(() => undefined).listen(0, '127.0.0.1');
  context.after(() => hanging.close());
  await once(hanging, 'listening');
  const { port } = hanging.address() as { port: number };
  const start = new Start(context, {
    CARILLON_AUTH__JWKSURL: `http://127.0.0.1:${port}/jwks`,
    CARILLON_AUTH__INSECUREHTTP: 'true',
    CARILLON_AUTH__ISSUER: 'i',
    CARILLON_AUTH__AUDIENCE: 'a',
  });
  const { waitedMs } = await start.line(({ waitsFor }) => waitsFor === 'the keys of the issuers');
  assert.equal(waitedMs, 1000);
});

test('what does not pass by itself ends the start at once, in words for a person', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-start-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const users =
    'authorization { users: [ { user: a, password: b, permissions: { publish: ["foo"], subscribe: [">"] } } ] }';
  const [without, guarded, small] = await Promise.all([
    nats(context, { jetstream: false }),
    nats(context, { extra: users }),
    nats(context, { jetstream: false, extra: `jetstream { store_dir: "${folder}", max_file_store: 4MB }` }),
  ]);
  const at = (cluster: NatsCluster, more = {}) =>
    new Start(context, { CARILLON_NATS__URL: cluster.urls[0] ?? '', ...more });
  const as = (user: string, password: string) => ({
    CARILLON_NATS__USER: user,
    CARILLON_NATS__PASSWORD: password,
  });
  const taken = createServer().listen(0, '127.0.0.1');
  context.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  await Promise.all([
    at(without).refused(/without JetStream/),
    at(guarded, as('a', 'c')).refused(/refuses the credentials/),
    at(guarded, as('a', 'b')).refused(/does not allow this user.*STREAM\.INFO/),
    at(small).refused(/cannot be made: insufficient storage resources.*max_file_store/),
    new Start(context, { CARILLON_LISTEN: `127.0.0.1:${port}` }).refused(new RegExp(`127.0.0.1:${port}`)),
  ]);
});
