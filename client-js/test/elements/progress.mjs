// <groupcast-progress> in a real browser, with a real gateway and a site that lets it watch.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from '../support/chromium.mjs';
import { Served, token } from '../support/served.mjs';
import { until } from '../support/until.mjs';

const SCREENSHOTS = fileURLToPath(new URL('../../../target/screenshots/', import.meta.url));
const GROUP = 'task.t-1';
const ELEMENT = `<groupcast-progress group="${GROUP}" ticket="good" path="/ws" label="Thumbnails"></groupcast-progress>`;
const SCRIPT = '<script type="module" src="/client/v1/progress.js"></script>';

let browser;
let gateway;
let site;
let page = '';
let watches = 0;

/** The site behind one origin with the gateway, as a proxy makes it. */
async function answer(request, response) {
  const json = (status, content) => {
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(content));
  };
  if (request.url === '/page') {
    const policy = "default-src 'none'; script-src 'self' 'nonce-n'; connect-src 'self'";
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': policy }).end(page);
  } else if (request.url.startsWith('/client/')) {
    const file = await fetch(`http://${gateway.address}${request.url}`);
    response.writeHead(file.status, { 'Content-Type': file.headers.get('content-type') }).end(await file.text());
  } else if (request.url.startsWith('/groupcast/connect')) {
    json(200, { sub: '7', groups: [] });
  } else if (request.url === '/groupcast/call') {
    let body = '';
    for await (const part of request) body += part;
    const { call, data } = JSON.parse(body);
    watches += 1;
    if (call === 'groupcast.watch' && data.ticket === 'good') json(200, { join: [GROUP] });
    else json(403, { code: 'forbidden', message: "the ticket is another user's" });
  } else {
    response.writeHead(204).end();
  }
}

function upgrade(request, socket, head) {
  const [host, port] = gateway.address.split(':');
  const onward = connect(Number(port), host, () => {
    const headers = request.rawHeaders.reduce((text, part, at) => text + part + (at % 2 ? '\r\n' : ': '), '');
    onward.write(`GET ${request.url} HTTP/1.1\r\n${headers}\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  for (const end of [socket, onward]) end.on('error', () => { socket.destroy(); onward.destroy(); });
}

before(async () => {
  site = createServer(answer).on('upgrade', upgrade).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const more = `
[[grant]]
calls = ["*"]
[backend]
url = "http://127.0.0.1:${site.address().port}"
connect = "/groupcast/connect"
calls = "/groupcast/call"
[[backend.key]]
id = "1"
secret = "a secret of the test, of 32 bytes or more"`;
  gateway = await Served.start({ more });
  browser = await launch();
  mkdirSync(SCREENSHOTS, { recursive: true });
});

after(async () => {
  await browser?.close();
  await gateway?.end();
  site?.closeAllConnections();
  site?.close();
});

/** A page of the site, whose element is a member. */
async function opened(t, { html = SCRIPT + ELEMENT, lang = 'en', isMember = true } = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const tab = await context.newPage();
  tab.complaints = [];
  tab.on('console', (message) => message.type() === 'error' && tab.complaints.push(message.text()));
  tab.on('pageerror', (error) => tab.complaints.push(error.message));
  page = `<!doctype html><html lang="${lang}"><title>page</title><body>${html}`;
  await tab.goto(`http://127.0.0.1:${site.address().port}/page`);
  if (isMember) await until(async () => (await members()) > 0, 'the page is a member');
  return tab;
}

const members = async () => (await (await gateway.ask('GET', `/groups/${GROUP}`)).json()).connections;
const publish = (event) => gateway.publish(GROUP, { type: 'task.state', id: 't-1', ...event });

/** What assistive technology and eyes are given. */
function shown(tab) {
  return tab.evaluate(() => {
    const element = document.querySelector('groupcast-progress');
    const bar = element.shadowRoot.querySelector('[role=progressbar]');
    return {
      state: element.getAttribute('state'),
      now: bar.getAttribute('aria-valuenow'),
      text: element.shadowRoot.querySelector('[part=text]').textContent,
      told: element.shadowRoot.querySelector('[role=status]').textContent,
      label: bar.getAttribute('aria-label'),
    };
  });
}
const showing = (tab, text) => until(async () => (await shown(tab)).text === text, text);

test('shows progress to eyes and to assistive technology, from the tag alone', async (t) => {
  const tab = await opened(t);
  assert.deepEqual(await shown(tab), { state: 'pending', now: null, text: 'Waiting', told: 'Waiting', label: 'Thumbnails' });
  await publish({ state: 'PROGRESS', progress: { current: 5, total: 12 } });
  await showing(tab, '42 % · 5 of 12');
  assert.deepEqual(await shown(tab), {
    state: 'progress', now: '42', text: '42 % · 5 of 12', told: '42 % · 5 of 12', label: 'Thumbnails',
  });
  await tab.screenshot({ path: `${SCREENSHOTS}/progress-element.png`, clip: { x: 0, y: 0, width: 600, height: 60 } });
  await publish({ state: 'PROGRESS', progress: { current: 5.5, total: 12 } });
  await showing(tab, '46 % · 5.5 of 12');
  assert.equal((await shown(tab)).told, '42 % · 5 of 12', 'a screen reader is told quarters');
  await publish({ state: 'SUCCESS', result: 'https://shop.example/1.png' });
  await showing(tab, 'Done');
  assert.deepEqual((({ state, now, told }) => ({ state, now, told }))(await shown(tab)), { state: 'success', now: '100', told: 'Done' });
  assert.deepEqual(tab.complaints, []);
});

test('shows a failure, in the language of the page, and tells the page by an event', async (t) => {
  const listen = '<script nonce="n">addEventListener("task-state", ({ detail }) => { window.last = detail; });</script>';
  const tab = await opened(t, { lang: 'es-MX', html: listen + SCRIPT + ELEMENT });
  await publish({ state: 'RETRY' });
  await showing(tab, 'Otro intento');
  await publish({ state: 'FAILURE', error: '<b>sin espacio</b>' });
  await showing(tab, 'Falló · <b>sin espacio</b>');
  assert.equal((await shown(tab)).state, 'failure');
  assert.deepEqual(await tab.evaluate(() => window.last.state), 'FAILURE');
});

test('a refused ticket is an error, and the task stays unseen', async (t) => {
  const tab = await opened(t, { html: SCRIPT + ELEMENT.replace('good', 'bad'), isMember: false });
  await showing(tab, "the ticket is another user's");
  assert.equal((await shown(tab)).state, 'failure');
  assert.equal(await members(), 0);
});

test('watches again after a lost connection', async (t) => {
  const tab = await opened(t);
  await publish({ state: 'PROGRESS', progress: 40 });
  await showing(tab, '40 %');
  const before = watches;
  await gateway.ask('POST', '/users/7/close?code=4503');
  await until(async () => watches > before && (await members()) > 0, 'a member again');
  await publish({ state: 'PROGRESS', progress: 80 });
  await showing(tab, '80 %');
});

test('the bars of a page share a connection, which may be the page\'s own', async (t) => {
  const own = `<script type="module" nonce="n">
    import { GroupcastClient } from '/client/v1/groupcast.js';
    import { use } from '/client/v1/progress.js';
    use(new GroupcastClient('/ws', { token: '${token('7')}' }));
  </script>`;
  for (const html of [SCRIPT + ELEMENT + ELEMENT, SCRIPT + ELEMENT + ELEMENT + own]) {
    const tab = await opened(t, { html });
    await publish({ state: 'PROGRESS', progress: 40 });
    await until(async () => tab.evaluate(() => [...document.querySelectorAll('groupcast-progress')]
      .every((element) => element.event?.progress === 40)), 'both show it');
    await tab.context().close();
    await until(async () => (await members()) === 0, 'the page has left');
  }
});
