// What only a real page shows: the back/forward cache, 500 clients made and closed, a worker.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from '../support/chromium.mjs';
import { Proxy } from '../support/proxy.mjs';
import { Served, token } from '../support/served.mjs';
import { until } from '../support/until.mjs';

const FILES = {
  '/groupcast.js': readFileSync(fileURLToPath(new URL('../../dist/groupcast.js', import.meta.url))),
  '/groupcast.global.js': readFileSync(fileURLToPath(new URL('../../dist/groupcast.global.js', import.meta.url))),
  '/worker.js': `
    import { GroupcastClient } from '/groupcast.js';
    onmessage = async ({ data: { url, token } }) => {
      const client = new GroupcastClient(url, { token });
      const group = client.join('sala_worker');
      await group.ready;
      const next = group.once('saludo');
      await group.send({ type: 'saludo' });
      postMessage((await next).event);
      client.close();
    };`,
};

let gateway;
let proxy;
let site;
let origin;

before(async () => {
  gateway = await Served.start({ more: '[connections]\nper_user = 1000\n' });
  proxy = await Proxy.to(gateway.address);
  site = createServer(({ url }, response) => {
    response.setHeader('Content-Type', url.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(FILES[url] ?? '<!doctype html><title>page</title>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  origin = `http://127.0.0.1:${site.address().port}`;
});
after(async () => {
  site?.close();
  await proxy?.close();
  await gateway?.end();
});

async function opened(t, options) {
  const browser = await launch(options);
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`${origin}/first`);
  return page;
}

test('a page restored from the back/forward cache rejoins within a second and misses nothing', async (t) => {
  // Playwright switches the cache off; without it this would test an ordinary load.
  const page = await opened(t, { ignoreDefaultArgs: ['--disable-back-forward-cache'] });
  await page.evaluate(async ({ url, good }) => {
    const { GroupcastClient } = await import('/groupcast.js');
    const client = new GroupcastClient(url, { token: good });
    const group = client.join('historia_bf');
    Object.assign(window, { client, seen: [], shown: {} });
    group.on('n', ({ n }) => window.seen.push(n));
    window.addEventListener('pageshow', ({ persisted }) => {
      window.shown = { persisted, at: performance.now() };
      group.once('$joined').then(() => { window.shown.joined = performance.now() - window.shown.at; });
    });
    await group.ready;
  }, { url: gateway.url, good: token('7') });
  await gateway.publish('historia_bf', { type: 'n', n: 1 });
  await page.waitForFunction(() => window.seen.length === 1);
  await page.goto(`${origin}/second`);
  await gateway.publish('historia_bf', { type: 'n', n: 2 });
  await page.goBack({ waitUntil: 'commit' });
  await page.waitForFunction(() => window.shown.joined !== undefined);
  const { persisted, joined } = await page.evaluate(() => window.shown);
  assert.equal(persisted, true, 'the page came from the cache');
  assert.ok(joined < 1000, `${joined} ms`);
  await page.waitForFunction(() => window.seen.length === 2);
  assert.deepEqual(await page.evaluate(() => window.seen), [1, 2]);
});

test('a dead connection is detected soon after the network returns', async (t) => {
  const page = await opened(t);
  await page.evaluate(async ({ url, good }) => {
    const { GroupcastClient } = await import('/groupcast.js');
    window.client = new GroupcastClient(url, { token: good });
    window.group = window.client.join('sala_1');
    await window.group.ready;
  }, { url: `ws://${proxy.address}/ws`, good: token('7') });
  proxy.set('blackhole');
  proxy.mode = 'blackhole';
  await page.context().setOffline(true);
  await page.context().setOffline(false);
  const start = performance.now();
  await page.waitForFunction(() => window.client.state !== 'connected');
  assert.ok(performance.now() - start < 4000);
  proxy.set('pass');
  await page.evaluate(() => window.client.reconnect());
  await page.waitForFunction(() => window.group.state === 'joined');
});

test('500 clients leave nothing behind', async (t) => {
  const page = await opened(t, { args: ['--js-flags=--expose-gc'] });
  const grown = await page.evaluate(async ({ url, good }) => {
    const { GroupcastClient } = await import('/groupcast.js');
    let listeners = 0;
    const { addEventListener, removeEventListener } = EventTarget.prototype;
    const counts = (target) => target === window || target === document;
    EventTarget.prototype.addEventListener = function add(...args) {
      if (counts(this)) listeners += 1;
      return addEventListener.apply(this, args);
    };
    EventTarget.prototype.removeEventListener = function remove(...args) {
      if (counts(this)) listeners -= 1;
      return removeEventListener.apply(this, args);
    };
    const round = async () => {
      const client = new GroupcastClient(url, { token: good });
      const group = client.join('sala_1');
      group.on('e', () => {});
      await group.ready;
      client.close();
    };
    const heap = async () => {
      for (let n = 0; n < 3; n += 1) {
        window.gc();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return performance.memory.usedJSHeapSize;
    };
    for (let n = 0; n < 50; n += 1) await round();
    const before = await heap();
    for (let n = 0; n < 500; n += 1) await round();
    return { heap: (await heap()) - before, listeners };
  }, { url: gateway.url, good: token('leak') });
  assert.equal(grown.listeners, 0);
  assert.ok(grown.heap < 1_000_000, `${grown.heap} bytes`);
  t.diagnostic(`${grown.heap} bytes after 500 rounds`);
  await until(async () => (await (await gateway.ask('GET', '/groups/sala_1')).json()).connections === 0
    || (await (await gateway.ask('GET', '/groups/sala_1')).json()).members === 0, 'the gateway has let go');
});

test('a worker and a classic script use it', async (t) => {
  const page = await opened(t);
  const answer = await page.evaluate(({ url, good }) => new Promise((resolve, reject) => {
    const worker = new Worker('/worker.js', { type: 'module' });
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage({ url, token: good });
  }), { url: gateway.url, good: token('7') });
  assert.equal(answer, 'saludo');
  await page.addScriptTag({ url: '/groupcast.global.js' });
  const state = await page.evaluate(async ({ url, good }) => {
    const client = new window.Groupcast.GroupcastClient(url, { token: good });
    const group = await client.join('sala_script').ready;
    client.close();
    return group.name;
  }, { url: gateway.url, good: token('7') });
  assert.equal(state, 'sala_script');
});
