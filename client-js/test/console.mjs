// The console in a real browser: two instances over one Redis, with real traffic, slow readers, a
// Celery worker, RabbitMQ and a site that fails. `npm run test:console`.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { launch } from './support/chromium.mjs';
import { freePort } from './support/instance.mjs';
import { Rabbit, Worker } from './support/operations.mjs';
import { Served, token } from './support/served.mjs';
import { until } from './support/until.mjs';

const KEY = 'a-secret-of-the-back-end';
const LOOKER = 'a-key-that-may-only-look';
const SCREENSHOTS = fileURLToPath(new URL('../../target/screenshots/console/', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const XSS = "<img src=x onerror='window.hacked=1'>";
const VIEWS = ['now', 'why', 'groups', 'connections', 'slow', 'sources', 'back_end', 'tasks', 'log', 'tap', 'publish'];

const folder = mkdtempSync(join(tmpdir(), 'groupcast-console-'));
const sockets = [];
let redis;
let site;
let one;
let two;
let browser;
let traffic;
let rabbit;
let worker;

async function startRedis() {
  const port = await freePort();
  redis = spawn('redis-server', ['--port', `${port}`, '--save', '', '--dir', folder], { stdio: 'ignore' });
  await until(() => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.end(); resolve(true); }).on('error', () => resolve(false));
  }));
  return port;
}

const configuration = (port, sitePort, broker) => `
[[route]]
path = "/ws/avisos"
join = ["usuario_{sub}"]
events.aviso = {}
[[route]]
path = "/ws/libre"
[[api.key]]
name = "looker"
secret = "${LOOKER}"
groups = ["nada"]
allow = ["console"]
[connections]
ping = "2s"
ping_grace = "60s"
[limits]
notsent_lowat = "4KiB"
[[limits.group]]
pattern = "sala_*"
capacity = 20
[layer]
kind = "redis"
url = "redis://127.0.0.1:${port}"
[channels]
receive = ["core"]
[backend]
url = "http://127.0.0.1:${sitePort}"
[[backend.key]]
secret = "a secret that both sides of the tests know"
[amqp]
url = "${broker}"
[celery]
results = "redis://127.0.0.1:${port}/1"
events = "redis://127.0.0.1:${port}/2"
broker = "redis://127.0.0.1:${port}/2"
[[task]]
call = "record"
name = "fails"
identity = ""
retry = true
[[grant]]
calls = ["record"]
`;

/** An entry of the ingress stream under way when two processes ended, as an instance finds it. */
async function setAside(port) {
  const script = `redis.call('XADD', KEYS[1], '1-1', 'group', 'sala_1', 'event', ARGV[1])
    redis.call('HSET', KEYS[2], KEYS[1], '1 ' .. redis.sha1hex('1-1') .. ' deadbeef,cafecafe')`;
  const command = ['-p', `${port}`, 'EVAL', script, '2', 'groupcast:ingress', 'groupcast:underway', JSON.stringify({ type: XSS })];
  const [code] = await once(spawn('redis-cli', command, { stdio: 'ignore' }), 'exit');
  assert.equal(code, 0);
}

/** A v1 client in these groups. */
async function client(gateway, sub, groups = []) {
  // Not every user's name makes a legal group name.
  const socket = new WebSocket(`ws://${gateway.address}/ws/libre`, 'groupcast.v1.json');
  sockets.push(socket);
  socket.on('message', (frame) => `${frame}` === '{"type":"ping"}' && socket.send('{"type":"pong"}'));
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'hello', token: token(sub) }));
  await once(socket, 'message');
  if (groups.length) {
    socket.send(JSON.stringify({ type: 'join', id: 1, groups }));
    await once(socket, 'message');
  }
  return socket;
}

/** A client that does not read and has lost events by now; it lasts until its pings are missed. */
async function slowReader(sub) {
  const lazy = await client(two, sub, ['sala_1']);
  lazy._socket.pause();
  const event = { type: 'aviso', x: 'x'.repeat(60_000) };
  // As much as the kernel and the outbox take, and more.
  await until(async () => {
    await Promise.all(Array.from({ length: 10 }, () => one.publish('sala_1', event)));
    const { connections } = await (await two.ask('GET', `/users/${sub}`)).json();
    return connections.some(({ dropped }) => dropped.capacity + dropped.bytes > 0);
  }, 'the slow reader loses events');
}

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  const port = await startRedis();
  site = createServer((_, response) => response.writeHead(500).end()).listen(0, '127.0.0.1');
  await once(site, 'listening');
  rabbit = await Rabbit.start();
  const at = (database) => `redis://127.0.0.1:${port}/${database}`;
  worker = await Worker.start({ broker: at(2), results: at(1), steps: at(4), events: true });
  await setAside(port);
  const more = configuration(port, site.address().port, rabbit.url);
  [one, two] = await Promise.all([Served.start({ more }), Served.start({ more })]);
  for (const gateway of [one, two]) await until(async () => (await fetch(`${gateway.api}/readyz?strict`)).ok);
  await client(one, 'ana', ['sala_1', 'historia_1']);
  await client(two, 'bea', ['sala_1']);
  await client(one, XSS, ['sala_1']);
  // The site fails, so this one is refused.
  const refused = new WebSocket(one.url, { headers: { Cookie: 'sessionid=7' } });
  await once(refused, 'close');
  traffic = setInterval(() => {
    one.publish('sala_1', { type: 'aviso', texto: XSS }).catch(() => {});
    one.publish('historia_1', { type: 'paso', texto: XSS }).catch(() => {});
  }, 100);
  await rabbit.publish('groupcast', 'no such target', { type: 'aviso', texto: XSS });
  browser = await launch();
});

after(async () => {
  clearInterval(traffic);
  await browser?.close();
  sockets.forEach((socket) => socket.terminate());
  await one?.end();
  await two?.end();
  await worker?.end();
  await rabbit?.end();
  site?.close();
  redis?.kill();
  rmSync(folder, { recursive: true, force: true });
});

/** A page of the console, signed in; what it complains of is collected. */
async function open(t, { key = KEY, view = 'now', ...options } = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.complaints = [];
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  page.on('pageerror', (error) => page.complaints.push(error.message));
  await page.goto(`${one.api}/console#${view}`);
  await page.fill('#key', key);
  await page.press('#key', 'Enter');
  await page.waitForSelector(`nav a[href="#${view.split('?')[0]}"][aria-current=page]`);
  await page.waitForSelector('#link[data-state=live]');
  return page;
}

async function accessible(page, name) {
  // The page's policy lets no script in, so axe comes by the debugger.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`);
  assert.deepEqual(found, [], name);
}

test('refuses a wrong key, and slows down whoever guesses', async (t) => {
  const context = await browser.newContext({ locale: 'es-ES' });
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${two.api}/console`);
  await page.fill('#key', 'wrong');
  await page.press('#key', 'Enter');
  await page.getByText('Esta clave no está configurada').waitFor();
  await accessible(page, 'sign in');
  const guess = () => fetch(`${two.api}/console/snapshot`, { headers: { authorization: 'Bearer guess' } });
  const answers = await Promise.all(Array.from({ length: 12 }, guess));
  const statuses = new Set(answers.map((answer) => answer.status));
  assert.deepEqual([...statuses].sort(), [401, 429]);
  await until(async () => (await two.ask('GET', '/console/snapshot')).ok);
});

test('shows both instances with their lines', async (t) => {
  const page = await open(t);
  await page.waitForFunction(() => document.querySelectorAll('thead th').length >= 3);
  await page.waitForFunction(() => (document.querySelector('.now polyline')?.getAttribute('points') ?? '').split(' ').length >= 3);
  const text = await page.innerText('main');
  assert.match(text, /Deliveries\/s/);
  assert.match(text, /✓ delivers/);
  await page.getByRole('region', { name: 'Busiest groups now' }).getByText('sala_1').waitFor();
  await page.screenshot({ path: join(SCREENSHOTS, 'now.png') });
  assert.deepEqual(page.complaints, []);
});

test('every view is shown with real traffic, in both languages, and axe finds nothing', async (t) => {
  for (const [locale, colorScheme] of [['en-GB', 'light'], ['es-ES', 'dark']]) {
    const page = await open(t, { locale, colorScheme });
    for (const view of VIEWS) {
      await page.click(`nav a[href="#${view}"]`);
      await page.waitForSelector(`nav a[href="#${view}"][aria-current=page]`);
      if (!['why', 'tap', 'publish', 'now'].includes(view)) await page.waitForSelector('main table, main div > .hint');
      await accessible(page, `${view} ${locale}`);
      await page.screenshot({ path: join(SCREENSHOTS, `${view}-${locale.slice(0, 2)}.png`) });
    }
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.deepEqual(page.complaints, []);
  }
});

test('answers why, with the cause in a sentence', async (t) => {
  await slowReader('lento');
  const page = await open(t, { view: 'why?sub=lento&group=sala_1' });
  await page.click('main form button');
  await page.locator('li.cause[data-code=slow]').waitFor();
  assert.match(await page.innerText('li.cause[data-code=slow]'), /reads too slowly/);
  await page.screenshot({ path: join(SCREENSHOTS, 'why.png') });
  await page.fill('[name=sub]', XSS);
  await page.click('main form button');
  await page.getByText(`User ${XSS} has 1 open connection(s)`).waitFor();
  await page.fill('[name=sub]', 'nadie');
  await page.click('main form button');
  await page.locator('li.cause[data-code=not_connected]').waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(page.complaints, []);
});

test('finds slow readers and closes a connection, which is logged with the name of the key', async (t) => {
  await slowReader('dormido');
  const page = await open(t, { view: 'slow' });
  await page.getByText('dormido').waitFor();
  await page.screenshot({ path: join(SCREENSHOTS, 'slow.png') });
  const victim = await client(two, 'víctima', ['sala_1']);
  const closed = once(victim, 'close');
  await page.click('nav a[href="#connections"]');
  await page.fill('[name=sub]', 'víctima');
  await page.press('[name=sub]', 'Enter');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
  await page.getByRole('button', { name: 'Close' }).click();
  await accessible(page, 'dialog');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  assert.equal((await closed)[0], 4403);
  await until(() => one.log.some((line) => line.includes('changed from the console') && line.includes('test')));
  assert.deepEqual(page.complaints, []);
});

test('shows what was set aside and dead letters, with what to do and where it is explained', async (t) => {
  const page = await open(t, { view: 'sources' });
  const findings = page.getByRole('region', { name: 'Findings, as of groupcast doctor' });
  await findings.getByText('docs/channels.md#what-is-promised').waitFor();
  await findings.getByText('docs/rabbitmq.md#dead-letters').waitFor();
  await page.getByRole('region', { name: 'Set aside' }).getByText(XSS).waitFor();
  assert.match(await findings.innerText(), /1 entries set aside; the last, of groupcast:ingress/);
  await accessible(page, 'sources');
  await page.screenshot({ path: join(SCREENSHOTS, 'sources.png') });
  const looker = await open(t, { key: LOOKER, view: 'sources' });
  await looker.getByRole('region', { name: 'Set aside' }).getByText('not shown').waitFor();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(page.complaints, []);
});

/** The row of a task in the view. */
const rowOf = (page, id) => page.getByRole('region', { name: 'Newest tasks' }).locator('tr', { hasText: id });

test('shows tasks, revokes one and has another done again', async (t) => {
  const browserOf = await client(one, 'ana');
  const started = new Promise((resolve) => browserOf.on('message', (frame) => {
    const { type, data } = JSON.parse(frame);
    if (type === 'result') resolve(data.task);
  }));
  browserOf.send(JSON.stringify({ type: 'call', id: 9, name: 'record' }));
  const failing = await started;
  worker.step(failing);
  const running = await worker.send('pictures', { count: 2 });
  const page = await open(t, { view: 'tasks' });
  await page.getByRole('region', { name: 'Workers' }).getByText('✓ alive').waitFor();
  await page.getByRole('region', { name: 'By name' }).getByText('pictures').waitFor();
  await rowOf(page, failing).getByText('FAILURE').waitFor();
  await rowOf(page, running).getByText('STARTED').waitFor();
  await page.screenshot({ path: join(SCREENSHOTS, 'tasks.png') });

  await rowOf(page, failing).getByRole('button', { name: 'Do again' }).click();
  await accessible(page, 'dialog of a task');
  await page.getByRole('dialog').getByRole('button', { name: 'Do again' }).click();
  await page.getByText(`Accepted: ${failing} is done again as`).waitFor();
  await rowOf(page, running).getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('dialog').getByRole('checkbox').check();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await rowOf(page, running).getByText('REVOKED').waitFor();
  await until(() => one.log.filter((line) => line.includes('changed from the console') && line.includes('/tasks/')).length >= 2);
  const spanish = await open(t, { locale: 'es-ES', colorScheme: 'dark', view: 'tasks' });
  await spanish.getByRole('region', { name: 'Tareas más nuevas' }).getByText('REVOKED').waitFor();
  await spanish.screenshot({ path: join(SCREENSHOTS, 'tasks-es.png') });
  const looker = await open(t, { key: LOOKER, view: 'tasks' });
  await rowOf(looker, failing).waitFor();
  assert.equal(await looker.getByRole('button', { name: /Revoke|Do again/ }).count(), 0, 'no button without the right');
  assert.deepEqual(page.complaints, []);
});

test('tells what waits for a group, and the round trip of a connection', async (t) => {
  await slowReader('perezoso');
  const page = await open(t, { view: 'groups' });
  const waiting = page.locator('tr', { has: page.getByRole('rowheader', { name: 'sala_1' }) }).locator('td').nth(2);
  await until(async () => Number((await waiting.textContent()).replaceAll(',', '')) > 0, 'events of sala_1 wait');
  await page.click('nav a[href="#connections"]');
  await page.fill('[name=sub]', 'ana');
  await page.press('[name=sub]', 'Enter');
  await page.getByRole('region', { name: 'Connections' }).getByText(/\d ms/).first().waitFor();
  assert.deepEqual(page.complaints, []);
});

test('taps a group, and shows its events to keys that may read it alone', async (t) => {
  const page = await open(t, { view: 'tap?group=historia_1' });
  await page.click('main form button');
  await page.getByText(XSS).first().waitFor();
  await page.screenshot({ path: join(SCREENSHOTS, 'tap.png') });
  const looker = await open(t, { key: LOOKER, view: 'tap?group=historia_1' });
  await looker.click('main form button');
  await looker.getByText('not shown').first().waitFor();
  assert.equal(await looker.getByText(XSS).count(), 0);
  await looker.click('nav a[href="#connections"]');
  await looker.locator('tbody tr').first().waitFor();
  assert.equal(await looker.getByRole('button', { name: 'Close' }).count(), 0, 'no button without the right');
  assert.equal(await page.evaluate(() => window.hacked), undefined);
});

test('publishes, with the request as curl, by keyboard alone', async (t) => {
  const page = await open(t, { view: 'publish' });
  await page.focus('[name=group]');
  await page.keyboard.type('historia_1');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.getByText(/Accepted, id/).waitFor();
  assert.match(await page.innerText('main pre'), /curl http.*\/groups\/historia_1\/send/);
  await page.fill('[name=event]', 'no json');
  await page.click('main form button');
  await page.getByText(/It failed/).waitFor();
});

test('shows warnings of all instances, and fits a telephone', async (t) => {
  const page = await open(t, { view: 'log', viewport: { width: 360, height: 740 } });
  await page.locator('tbody tr').first().waitFor();
  for (const view of VIEWS) {
    await page.click(`nav a[href="#${view}"]`);
    await page.waitForSelector(`nav a[href="#${view}"][aria-current=page]`);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${view} is ${width} wide`);
  }
  await page.click('nav a[href="#now"]');
  await page.screenshot({ path: join(SCREENSHOTS, 'phone.png') });
});

test('names an instance that is silent', async (t) => {
  const page = await open(t);
  process.kill(two.pid, 'SIGSTOP');
  try {
    await page.getByText(/No answer from/).waitFor();
  } finally {
    process.kill(two.pid, 'SIGCONT');
  }
  await page.waitForFunction(() => document.querySelectorAll('.now thead th').length === 3);
});
