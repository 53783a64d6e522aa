// The contract in Firefox (over WebDriver BiDi) and in WebKitGTK (over WebDriver): `make browsers`.
//
// BiDi over `ws`, which is here anyway, and not puppeteer-core: three commands are needed (a session, a
// page, its title), for which it would bring 81 packages into the lockfile. The protocol is a standard,
// and ESR speaks it without a driver. WebKitGTK speaks no BiDi, so its driver is asked over HTTP.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { freePort } from '../support/instance.mjs';
import { Served, token } from '../support/served.mjs';
import { until } from '../support/until.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const FILES = { '/groupcast.js': '../../dist/groupcast.js', '/cases.mjs': 'cases.mjs', '/until.mjs': '../support/until.mjs' };
// Runs every case and leaves the names of those that failed, with why.
const PAGE = (url) => `<!doctype html><title>running</title><script type="module">
import * as groupcast from '/groupcast.js';
import { cases } from '/cases.mjs';
import { until } from '/until.mjs';
const ask = async (path, body) => {
  const response = await fetch(path, { method: 'POST', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
};
const equal = (actual, expected) => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) throw new Error(JSON.stringify(actual) + ' is not ' + JSON.stringify(expected));
};
const rejects = (run, code) => (async () => run())().then(() => { throw new Error('not rejected'); }, (error) => equal(error.code, code));
const env = {
  groupcast, url: ${JSON.stringify(url)}, options: {}, until, equal, rejects, RawWebSocket: WebSocket,
  token: async (...args) => (await ask('/token', args)).token, publish: (...args) => ask('/publish', args),
};
const failures = [];
await Promise.all(Object.entries(cases).map(([name, run]) => run(env).catch((error) => failures.push(name + ': ' + error.message))));
document.title = 'done ' + JSON.stringify({ failures, ran: Object.keys(cases).length });
</script>`;

let gateway;
let site;
let page;

async function answer({ url, method }, request, response) {
  if (method === 'POST') {
    let text = '';
    for await (const chunk of request) text += chunk;
    const args = JSON.parse(text);
    const value = url === '/token' ? { token: token(...args) } : await gateway.publish(...args);
    return response.end(JSON.stringify(value));
  }
  response.setHeader('Content-Type', url in FILES ? 'text/javascript' : 'text/html');
  response.end(url in FILES ? readFileSync(at(FILES[url])) : PAGE(gateway.url));
}

before(async () => {
  gateway = await Served.start();
  site = createServer((request, response) => answer(request, request, response)
    .catch((error) => response.writeHead(500).end(String(error)))).listen(0, '127.0.0.1');
  await once(site, 'listening');
  page = `http://127.0.0.1:${site.address().port}/`;
});
after(async () => {
  site?.closeAllConnections();
  site?.close();
  await gateway?.end();
});

function check(title) {
  const { failures, ran } = JSON.parse(title.replace('done ', ''));
  assert.ok(ran > 10);
  assert.deepEqual(failures, []);
}

test('the contract holds in Firefox', { timeout: 180_000 }, async (t) => {
  const profile = mkdtempSync(join(tmpdir(), 'groupcast-firefox-'));
  const args = ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0'];
  const firefox = spawn('firefox-esr', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  t.after(async () => {
    firefox.kill();
    if (firefox.exitCode === null) await once(firefox, 'exit');
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  let text = '';
  firefox.stderr.on('data', (data) => { text += data; });
  const address = await until(() => text.match(/BiDi listening on (ws:\S+)/)?.[1], 'Firefox listens', 60_000);
  const socket = new WebSocket(`${address}/session`);
  await once(socket, 'open');
  let lastId = 0;
  const waiting = new Map();
  socket.on('message', (data) => {
    const { id, result, ...error } = JSON.parse(data);
    if (result) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(JSON.stringify(error)));
  });
  const command = (method, params) => new Promise((resolve, reject) => {
    waiting.set((lastId += 1), { resolve, reject });
    socket.send(JSON.stringify({ id: lastId, method, params }));
  });
  await command('session.new', { capabilities: {} });
  const { contexts: [{ context }] } = await command('browsingContext.getTree', {});
  await command('browsingContext.navigate', { context, url: page, wait: 'complete' });
  const title = async () => {
    const { result } = await command('script.evaluate', { expression: 'document.title', target: { context }, awaitPromise: false });
    return result.value;
  };
  check(await until(async () => (await title()).startsWith('done') && title(), 'the cases are over', 120_000));
  socket.close();
});

test('the contract holds in WebKitGTK', { timeout: 180_000 }, async (t) => {
  const port = await freePort();
  const binary = ['4.1', '4.0', '6.0'].map((version) => `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/webkit2gtk-${version}/MiniBrowser`)
    .concat('/usr/lib/x86_64-linux-gnu/webkitgtk-6.0/MiniBrowser').find(existsSync);
  const screen = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1024x768x24'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  // The last started ends first: the browser, its driver, the screen.
  const ends = [() => screen.kill()];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const [display] = await once(screen.stdio[3], 'data');
  const env = { ...process.env, DISPLAY: `:${String(display).trim()}`, WEBKIT_DISABLE_COMPOSITING_MODE: '1' };
  if (process.getuid?.() === 0) env.WEBKIT_FORCE_SANDBOX = '0';
  const driver = spawn('WebKitWebDriver', [`--port=${port}`], { stdio: 'ignore', env });
  ends.push(() => driver.kill());
  const ask = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(JSON.stringify(value));
    return value;
  };
  await until(() => ask('GET', '/status').then(() => true, () => false), 'the driver listens', 30_000);
  const options = { 'webkitgtk:browserOptions': { binary, args: ['--automation'] } };
  const { sessionId } = await ask('POST', '/session', { capabilities: { alwaysMatch: options } });
  const path = `/session/${sessionId}`;
  ends.push(() => ask('DELETE', path));
  await ask('POST', `${path}/url`, { url: page });
  check(await until(async () => {
    const title = await ask('GET', `${path}/title`);
    return title.startsWith('done') && title;
  }, 'the cases are over', 120_000));
});
