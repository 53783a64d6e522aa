// Tabs as people have them: hidden, frozen, on a machine that sleeps, and two of the same site.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Proxy } from '../support/proxy.mjs';
import { Served, token } from '../support/served.mjs';
import { Tabs } from '../support/tabs.mjs';
import { until } from '../support/until.mjs';

const CLIENT = readFileSync(fileURLToPath(new URL('../../dist/groupcast.js', import.meta.url)));

let gateway;
let proxy;
let site;
let origin;
let tabs;
let signedIn = true;

before(async () => {
  gateway = await Served.start({ more: '[connections]\nping = "2s"\nping_grace = "1s"\n' });
  proxy = await Proxy.to(gateway.address);
  site = createServer(({ url }, response) => {
    if (url.startsWith('/token')) {
      if (!signedIn) response.writeHead(401);
      return response.end(token('7', Number(url.split('?')[1])));
    }
    response.setHeader('Content-Type', url.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(url.endsWith('.js') ? CLIENT : '<!doctype html><title>page</title>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  origin = `http://127.0.0.1:${site.address().port}`;
  tabs = await Tabs.open();
});
after(async () => {
  await tabs?.close();
  site?.closeAllConnections();
  site?.close();
  await proxy?.close();
  await gateway?.end();
});

/** A tab in front, with a client in `group` that notes what it sees. */
async function joined(group, { seconds = 3600, address = gateway.address } = {}) {
  const tab = await tabs.tab(`${origin}/`);
  await tab.run(async ({ url, group: name, life }) => {
    const { GroupcastClient } = await import('/groupcast.js');
    const client = new GroupcastClient(url, {
      getToken: () => {
        window.fetched += 1;
        return fetch(`/token?${life}`);
      },
    });
    Object.assign(window, { client, fetched: 0, seen: [], ends: [], ticks: 0 });
    client.on('waiting', ({ code }) => window.ends.push(code));
    client.on('closed', ({ code }) => window.ends.push(code));
    window.group = client.join(name);
    window.group.on('n', ({ n }) => window.seen.push(n));
    window.group.on('$gap', () => window.seen.push('gap'));
    await window.group.ready;
  }, { url: `ws://${address}/ws`, group, life: seconds });
  return tab;
}

const seen = (tab) => tab.run(() => window.seen);

/** Another tab comes in front of this one. */
async function hide(tab) {
  const other = await tabs.tab('about:blank');
  await other.show();
  await until(() => tab.run(() => document.visibilityState === 'hidden'), 'the tab is hidden');
  return other;
}

test('a hidden tab renews a token that lives ten seconds, and keeps its connection', async (t) => {
  const tab = await joined('historia_hidden', { seconds: 10 });
  const { id } = await tab.run(() => ({ id: window.client.id }));
  const other = await hide(tab);
  await tab.run(() => { setInterval(() => { window.ticks += 1; }, 50); });
  await until(() => tab.run(() => window.fetched >= 3), 'two renewals', 40_000);
  const { ticks, ...now } = await tab.run(() => ({ ticks: window.ticks, id: window.client.id, ends: window.ends }));
  assert.deepEqual(now, { id, ends: [] });
  assert.ok(ticks < 100, `timers were slow: ${ticks} in 12 s or more`);
  t.diagnostic(`${ticks} of about 300 ticks`);
  await Promise.all([tab.close(), other.close()]);
});

for (const how of ['rst', 'blackhole']) {
  test(`a frozen tab whose connection is lost (${how}) rejoins when it is looked at, and misses nothing`, async () => {
    const group = `historia_frozen_${how}`;
    const tab = await joined(group, { address: proxy.address });
    await gateway.publish(group, { type: 'n', n: 1 });
    await until(async () => (await seen(tab)).length === 1, 'the first');
    const other = await hide(tab);
    await tab.lifecycle('frozen');
    if (how === 'rst') proxy.cut('rst');
    else proxy.set('blackhole');
    await gateway.publish(group, { type: 'n', n: 2 });
    await until(async () => (await (await gateway.ask('GET', `/groups/${group}`)).json()).connections === 0, 'the gateway has given up');
    proxy.set('pass');
    await tab.lifecycle('active');
    await tab.show();
    const shown = performance.now();
    await until(async () => (await seen(tab)).length === 2, 'the second', 8000);
    assert.deepEqual(await seen(tab), [1, 2]);
    assert.ok(performance.now() - shown < 6000);
    await Promise.all([tab.close(), other.close()]);
  });
}

test('after a sleep that the gateway did not wait for, the page rejoins and misses nothing', async () => {
  const tab = await joined('historia_sleep');
  await gateway.publish('historia_sleep', { type: 'n', n: 1 });
  await until(async () => (await seen(tab)).length === 1, 'the first');
  tabs.signal('SIGSTOP');
  await until(async () => (await (await gateway.ask('GET', '/groups/historia_sleep')).json()).connections === 0, 'the gateway has given up');
  await gateway.publish('historia_sleep', { type: 'n', n: 2 });
  tabs.signal('SIGCONT');
  await until(async () => (await seen(tab)).length === 2, 'the second');
  assert.deepEqual(await seen(tab), [1, 2]);
  await tab.close();
});

test('two tabs of one user: each hears everything, and one that closes takes nothing from the other', async () => {
  const [first, second] = [await joined('historia_two'), await joined('historia_two')];
  await first.run(() => window.group.send({ type: 'n', n: 1 }, { echo: false }));
  await second.run(() => window.group.send({ type: 'n', n: 2 }));
  await until(async () => (await seen(second)).length === 2, 'both');
  assert.deepEqual([await seen(first), await seen(second)], [[2], [1, 2]], 'the hidden tab hears, too');
  await first.run(() => window.client.close());
  await gateway.publish('historia_two', { type: 'n', n: 3 });
  await until(async () => (await seen(second)).length === 3, 'the third');
  assert.deepEqual(await seen(first), [2]);
  await first.run(() => window.client.connect());
  // As the site does when the user logs out, in any tab.
  signedIn = false;
  const response = await gateway.ask('POST', '/users/7/close?code=4401');
  assert.equal(response.status, 202, await response.text());
  for (const tab of [first, second]) {
    await until(() => tab.run(() => window.client.state === 'closed'), 'the close');
    assert.equal((await tab.run(() => window.ends)).at(-1), 4401);
  }
  await Promise.all([first.close(), second.close()]);
});
