/** The page in a real browser: two tabs that talk, and a broker that is killed under them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { pageAsset } from '../../src/api/page.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';
import { launchChromium } from '../support/chromium.ts';
import { freeAddress } from '../support/port.ts';

/** Without a key the broker is in development mode and makes tokens for the page. */
const DEVELOPMENT = { CARILLON_JWT_SECRET: '' };
const WITH_KEY = { CARILLON_PAGE__ENABLED: 'true' };
const WAIT_MS = 20_000;
/** A broker without `tickets.secrets` does not know the tickets of the one before it: a token follows. */
const EXPECTED = /ERR_CONNECTION|HTTP Authentication failed/;

let browser: Browser;

before(async () => {
  browser = await launchChromium();
});

after(async () => {
  await browser.close();
});

interface Tab {
  readonly page: Page;
  /** What the browser complained about, except for addresses that could not be reached and tickets not taken. */
  readonly complaints: string[];
}

async function openTab(address: string): Promise<Tab> {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !EXPECTED.test(text)) complaints.push(text);
  });
  await page.goto(address);
  return { page, complaints };
}

async function enter(page: Page, name: string, room: string): Promise<void> {
  await page.fill('#name', name);
  await page.fill('#room', room);
  await page.click('#entry button');
  await connected(page);
}

async function connected(page: Page): Promise<void> {
  await page.waitForSelector('#banner[data-state=open]');
}

async function say(page: Page, text: string): Promise<void> {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

function texts(page: Page): Promise<string[]> {
  return page.locator('#log .body').allTextContents();
}

function figure(page: Page, id: string): Promise<string | null> {
  return page.locator(`#${id}`).textContent();
}

async function until(page: Page, what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!(await holds())) {
    const seen = await texts(page);
    if (performance.now() > deadline) throw new Error(`${what}; the log shows ${JSON.stringify(seen)}`);
    await page.waitForTimeout(50);
  }
}

async function lines(page: Page, count: number): Promise<string[]> {
  await until(page, `${count} messages`, async () => (await texts(page)).length >= count);
  return texts(page);
}

test('two tabs talk, see one another, and the chain of seq and prev', async (t) => {
  const broker = await startBroker({ env: DEVELOPMENT });
  t.after(() => broker.kill());
  const ann = await openTab(broker.httpUrl);
  await enter(ann.page, 'ann', 'lobby');
  const bob = await openTab(`${broker.httpUrl}/#room=lobby&name=bob`);
  await connected(bob.page);
  await until(ann.page, 'two members', async () => (await figure(ann.page, 'count')) === '2');
  assert.deepEqual(await ann.page.locator('#members .who').allTextContents(), ['ann', 'bob']);
  await say(ann.page, 'hello <b>bob</b>');
  await lines(bob.page, 1);
  await say(bob.page, 'hello ann');
  for (const { page } of [ann, bob])
    assert.deepEqual(await lines(page, 2), ['hello <b>bob</b>', 'hello ann'], 'text, not markup');
  assert.deepEqual(await bob.page.locator('#log .chain').allTextContents(), ['seq 1 ← 0', 'seq 2 ← 1']);
  assert.equal(await bob.page.locator('.chain.broken').count(), 0);
  await until(ann.page, 'a round trip', async () =>
    /^[\d.]+ ms$/.test((await figure(ann.page, 'rtt')) ?? ''),
  );
  assert.equal(await figure(ann.page, 'seq'), '2');
  await bob.page.locator('#text').pressSequentially('hm');
  await ann.page.waitForSelector('#typing:has-text("bob is typing")');
  await bob.page.fill('#text', '');
  await until(ann.page, 'bob has given up', async () => (await figure(ann.page, 'typing')) === '');
  assert.equal(await figure(ann.page, 'quality'), 'good');
  const late = await openTab(`${broker.httpUrl}/#room=lobby&name=cid`);
  assert.deepEqual(await lines(late.page, 2), ['hello <b>bob</b>', 'hello ann'], 'a newcomer sees the past');
  await bob.page.click('#leave');
  await until(ann.page, 'bob gone', async () => (await figure(ann.page, 'count')) === '2');
  for (const { complaints } of [ann, bob, late]) assert.deepEqual(complaints, []);
});

test('kill -9 and a restart: what is written meanwhile arrives once, in both tabs', async (t) => {
  const env = { ...DEVELOPMENT, CARILLON_LISTEN: await freeAddress() };
  let broker: RunningBroker = await startBroker({ env });
  t.after(() => broker.kill());
  const tabs = [
    await openTab(`${broker.httpUrl}/#room=lobby&name=ann`),
    await openTab(`${broker.httpUrl}/#room=lobby&name=bob`),
  ];
  const [ann, bob] = tabs.map(({ page }) => page) as [Page, Page];
  await Promise.all([connected(ann), connected(bob)]);
  await say(ann, 'before');
  await Promise.all([lines(ann, 1), lines(bob, 1)]);
  await broker.kill();
  for (const page of [ann, bob]) {
    await page.waitForSelector('#banner[data-state=waiting]');
    assert.equal(await figure(page, 'quality'), 'weak: lost');
  }
  await say(ann, 'away 1');
  await say(bob, 'away 2');
  await say(ann, 'away 3');
  assert.equal(await figure(ann, 'waiting'), '2');
  assert.equal(await ann.locator('#pending .message').count(), 2);
  broker = await startBroker({ env });
  const seen = await Promise.all([lines(ann, 4), lines(bob, 4)]);
  await say(bob, 'after');
  const [all, others] = await Promise.all([lines(ann, 5), lines(bob, 5)]);
  assert.deepEqual(all, others, 'one order for both');
  assert.deepEqual([...all].sort(), ['after', 'away 1', 'away 2', 'away 3', 'before']);
  assert.ok(all.indexOf('away 1') < all.indexOf('away 3'), 'the order of the publisher is kept');
  assert.ok(seen.every((each) => each[0] === 'before'));
  for (const { page, complaints } of tabs) {
    assert.equal(await figure(page, 'reconnects'), '1');
    assert.equal(await figure(page, 'waiting'), '0');
    assert.equal(await figure(page, 'gaps'), '0');
    assert.equal(await page.locator('#pending .message').count(), 0);
    assert.deepEqual(complaints, []);
  }
});

test('with a key of its own the broker makes no tokens: one is pasted', async (t) => {
  const broker = await startBroker({ env: WITH_KEY });
  t.after(() => broker.kill());
  const { page, complaints } = await openTab(broker.httpUrl);
  await page.fill('#token', await broker.token({ sub: 'dora' }));
  assert.equal(await page.locator('#name').isVisible(), false, 'the name is in the token');
  await page.click('#entry button');
  await connected(page);
  await say(page, 'signed');
  assert.deepEqual(await lines(page, 1), ['signed']);
  assert.equal(await page.locator('#log b').first().textContent(), 'dora');
  // The probe for development mode is answered by 404, which the browser logs.
  assert.ok(
    complaints.every((text) => text.includes('404')),
    complaints.join('\n'),
  );
});

test('the page is served with a policy that allows no inline code', async (t) => {
  const broker = await startBroker({ env: WITH_KEY });
  t.after(() => broker.kill());
  const response = await fetch(broker.httpUrl);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  const html = await response.text();
  assert.doesNotMatch(html, /<style|style=|<script(?![^>]*src=)/);
  for (const [path, type] of [
    ['/page/page.css', /text\/css/],
    ['/page/icon.svg', /image\/svg/],
    ['/sdk/page/page.js', /text\/javascript/],
    ['/sdk/client/index.js', /text\/javascript/],
    ['/sdk/protocol/codes.js', /text\/javascript/],
  ] as const)
    assert.match((await fetch(broker.httpUrl + path)).headers.get('content-type') ?? '', type, path);
});

test('every module that the page needs is served, and none needs a bundler', () => {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const module = pageAsset(path);
    assert.ok(module !== undefined, `${path} is not served`);
    for (const [, from = ''] of module.body.matchAll(
      /^(?:import|export)[^;]*? from ['"]([^'"]+)['"]|^import ['"]/gm,
    )) {
      assert.match(from, /^\.{1,2}\/.*\.js$/, `${path} imports ${from}`);
      visit(new URL(from, `http://host${path}`).pathname);
    }
  };
  visit('/sdk/page/page.js');
  assert.ok(seen.has('/sdk/client/sequencer.js') && seen.has('/sdk/protocol/codes.js'), [...seen].join(' '));
});

test('nothing but the page and the SDK is served', () => {
  assert.equal(pageAsset('/')?.status, 200);
  for (const path of [
    '/index.html',
    '/main.js',
    '/sdk/main.js',
    '/sdk/broker/session.js',
    '/sdk/../main.js',
    '/sdk/client/../../main.js',
    '/sdk/client/index.d.ts',
    '/sdk/client/index.js.map',
    '/page/',
    '__proto__',
    '',
  ])
    assert.equal(pageAsset(path), undefined, path);
});
