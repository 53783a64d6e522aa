// A network that fails now and then: each client is cut about every 15 s, for 2 s, while the group is
// published to twice a second. Everything arrives, once; how late what was missed comes is told.
// JITTER_PUBLICATIONS and JITTER_CLIENTS make it longer; JITTER_STABLE_MS is the option `stableAfter`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { GroupcastClient } from '../../dist/groupcast.js';
import { Proxy } from '../support/proxy.mjs';
import { Served, token } from '../support/served.mjs';
import { until } from '../support/until.mjs';

const PUBLICATIONS = Number(process.env.JITTER_PUBLICATIONS ?? 40);
const CLIENTS = Number(process.env.JITTER_CLIENTS ?? 20);
const STABLE_MS = Number(process.env.JITTER_STABLE_MS ?? 5000);
const PAUSE_MS = 500;
const CUT_EVERY_MS = 15_000;
const CUT_FOR_MS = 2000;
const GROUP = 'historia_jitter';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const part = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

/** Cuts a client's line again and again, from a random moment on. */
class Cutter {
  cuts = 0;
  #timer;

  constructor(proxy) {
    this.proxy = proxy;
    this.#next(Math.random() * CUT_EVERY_MS);
  }

  #next(delay) {
    this.#timer = setTimeout(() => {
      this.cuts += 1;
      this.proxy.set('refuse');
      this.proxy.cut();
      this.#timer = setTimeout(() => this.mend(), CUT_FOR_MS);
    }, delay);
  }

  mend() {
    this.proxy.set('pass');
    this.#next(CUT_EVERY_MS * (0.8 + Math.random() * 0.4) - CUT_FOR_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.proxy.set('pass');
  }
}

test(`${CLIENTS} clients on lines that fail, ${PUBLICATIONS} publications`, { timeout: 180_000 }, async (t) => {
  const gateway = await Served.start();
  const lines = [];
  t.after(async () => {
    for (const { client, cutter, proxy } of lines) {
      cutter.stop();
      client.close();
      await proxy.close();
    }
    await gateway.end();
  });
  const late = { all: [], replayed: [] };
  let gaps = 0;
  for (let n = 0; n < CLIENTS; n += 1) {
    const proxy = await Proxy.to(gateway.address);
    const client = new GroupcastClient(`ws://${proxy.address}/ws`, {
      WebSocket, getToken: () => token(`u${n}`), backoff: { stableAfter: STABLE_MS }, warnings: false,
    });
    const numbers = [];
    const group = client.join(GROUP);
    group.on('$gap', () => { gaps += 1; });
    group.on('n', (data, { recovered }) => {
      numbers.push(data.n);
      const ms = Date.now() - data.at;
      late.all.push(ms);
      if (recovered) late.replayed.push(ms);
    });
    await group.ready;
    lines.push({ proxy, client, numbers, cutter: new Cutter(proxy) });
  }
  for (let n = 1; n <= PUBLICATIONS; n += 1) {
    await gateway.publish(GROUP, { type: 'n', n, at: Date.now() });
    await pause(PAUSE_MS);
  }
  for (const { cutter } of lines) cutter.stop();
  const expected = Array.from({ length: PUBLICATIONS }, (_, n) => n + 1);
  await until(() => lines.every(({ numbers }) => numbers.length >= PUBLICATIONS), 'everything has arrived', 40_000)
    .catch((error) => t.diagnostic(error.message));
  for (const { numbers } of lines) assert.deepEqual(numbers, expected, 'everything, in order, once');
  assert.equal(gaps, 0);
  for (const list of Object.values(late)) list.sort((a, b) => a - b);
  const cuts = lines.reduce((sum, { cutter }) => sum + cutter.cuts, 0);
  assert.ok(cuts > 0 && late.replayed.length > 0, 'lines were cut, and something was missed');
  const times = (list) => `p50 ${part(list, 0.5)} ms, p99 ${part(list, 0.99)} ms, last ${list.at(-1)} ms`;
  t.diagnostic(`${cuts} cuts; ${late.all.length} delivered, ${late.replayed.length} of them replayed`);
  t.diagnostic(`replayed: ${times(late.replayed)} after publishing; all: ${times(late.all)}`);
});
