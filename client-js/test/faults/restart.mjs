// One of two instances restarts under many clients: how soon they are back, how hard they press, what
// they miss. RESTART_CLIENTS makes it larger. Beside them, sockets that try again every three seconds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { GroupcastClient } from '../../dist/groupcast.js';
import { freePort } from '../support/instance.mjs';
import { Served, token } from '../support/served.mjs';
import { until } from '../support/until.mjs';

const CLIENTS = Number(process.env.RESTART_CLIENTS ?? 500);
const WINDOW_S = 5;
const GROUP = 'historia_restart';

/** To whichever instance takes the connection, in turn. */
class Balancer {
  /** When each connection came, ms. */
  arrivals = [];
  /** Instances that are not ready, as a balancer learns from `/readyz`. */
  away = new Set();

  static async to(addresses) {
    const balancer = new Balancer();
    let turn = 0;
    balancer.server = createServer((client) => {
      balancer.arrivals.push(performance.now());
      client.on('error', () => {});
      const attempt = (left) => {
        if (left === 0) return client.resetAndDestroy();
        const address = addresses[(turn += 1) % addresses.length];
        if (balancer.away.has(address)) return attempt(left - 1);
        const [host, port] = address.split(':');
        const gateway = connect({ host, port: Number(port) });
        gateway.once('error', () => attempt(left - 1));
        gateway.once('connect', () => {
          gateway.removeAllListeners('error');
          gateway.on('error', () => client.destroy());
          gateway.on('close', () => client.destroy());
          client.on('close', () => gateway.destroy());
          client.pipe(gateway).pipe(client);
        });
      };
      attempt(addresses.length);
    }).listen(0, '127.0.0.1');
    await once(balancer.server, 'listening');
    balancer.url = `ws://127.0.0.1:${balancer.server.address().port}/ws`;
    return balancer;
  }

  /** Most connections within any 100 ms. */
  peak() {
    let most = 0;
    for (let from = 0, to = 0; to < this.arrivals.length; to += 1) {
      while (this.arrivals[to] - this.arrivals[from] > 100) from += 1;
      most = Math.max(most, to - from + 1);
    }
    return most;
  }
}

/** A class that pages write by hand: a plain WebSocket and a timer of three seconds. */
class FixedTimer {
  up = false;

  constructor(url, sub) {
    this.url = url;
    this.sub = sub;
    this.#dial();
  }

  #dial() {
    this.socket = new WebSocket(this.url, { headers: { Authorization: `Bearer ${token(this.sub)}` } });
    this.socket.on('open', () => { this.up = true; });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.up = false;
      if (!this.ended) this.timer = setTimeout(() => this.#dial(), 3000);
    });
  }

  close() {
    this.ended = true;
    clearTimeout(this.timer);
    this.socket.close();
  }
}

async function redis(t) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'groupcast-redis-'));
  const server = spawn('redis-server', ['--port', `${port}`, '--save', '', '--dir', folder], { stdio: 'ignore' });
  t.after(() => {
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  });
  return `redis://127.0.0.1:${port}`;
}

test(`${CLIENTS} clients when one of two instances restarts`, { timeout: 300_000 }, async (t) => {
  const url = await redis(t);
  const more = `[layer]\nkind = "redis"\nurl = "${url}"\n[connections]\nmax = 20000\nretry_window = "${WINDOW_S}s"\n`;
  const instances = [];
  for (let n = 0; n < 2; n += 1) instances.push(await Served.start({ ports: [await freePort(), await freePort()], more }));
  const balancer = await Balancer.to(instances.map(({ address }) => address));
  const clients = [];
  const seen = [];
  t.after(async () => {
    for (const client of clients) client.close();
    balancer.server.close();
    for (const instance of instances) await instance.end();
  });
  for (let n = 0; n < CLIENTS; n += 1) {
    const client = new GroupcastClient(balancer.url, { WebSocket, getToken: () => token(`u${n}`), timeout: 60_000 });
    clients.push(client);
    const numbers = [];
    seen.push(numbers);
    client.join(GROUP).on('n', (data) => numbers.push(data.n));
    if (n % 50 === 49) await until(() => clients.every(({ groups }) => groups.get(GROUP).state === 'joined'), 'joined', 60_000);
  }
  await until(() => clients.every(({ groups }) => groups.get(GROUP).state === 'joined'), 'all joined', 60_000);
  let published = 0;
  const publish = async () => instances[1].publish(GROUP, { type: 'n', n: (published += 1) });
  await publish();
  balancer.arrivals.length = 0;

  const start = performance.now();
  let lost = 0;
  for (const client of clients) client.on('waiting', () => { lost += 1; });
  balancer.away.add(instances[0].address);
  const stopped = instances[0].stop('SIGTERM');
  await until(() => lost > 0, 'the drain');
  const back = until(() => clients.filter(({ state }) => state === 'connected').length >= CLIENTS * 0.99, '99 % are back', 60_000)
    .then(() => performance.now() - start);
  const publishing = (async () => {
    for (let n = 0; n < 50; n += 1) {
      await publish();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  await stopped;
  await instances[0].begin();
  balancer.away.clear();
  const ms = await back;
  await publishing;
  await publish();
  await until(() => seen.every((numbers) => numbers.at(-1) === published), 'everybody has the last event', 60_000);
  const incomplete = seen.filter((numbers) => numbers.length !== published).length;
  t.diagnostic(`${lost} cut off; 99 % back after ${Math.round(ms)} ms; peak ${balancer.peak()} connections in 100 ms`);
  assert.equal(incomplete, 0, 'nothing missed, nothing twice');
  assert.ok(ms < (WINDOW_S + 3) * 1000, `${ms} ms`);

  for (const client of clients) client.close();
  const timers = clients.map((_, n) => new FixedTimer(balancer.url, `u${n}`));
  t.after(() => timers.forEach((timer) => timer.close()));
  await until(() => timers.every(({ up }) => up), 'the others are connected', 60_000);
  balancer.arrivals.length = 0;
  await instances[0].stop('SIGKILL');
  await instances[0].begin();
  await until(() => timers.every(({ up }) => up) && balancer.arrivals.length > 0, 'the others are back', 60_000);
  t.diagnostic(`with a fixed timer: peak ${balancer.peak()} connections in 100 ms`);
  for (const timer of timers) timer.close();
});
