// One of two instances drains or is killed, and starts again, under many clients: how soon they are back, how hard they press, what
// they miss. RESTART_CLIENTS makes it larger. Beside them, sockets that try again every three seconds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
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
// Each publication goes to everybody through this one process: not more than 5000 deliveries a second.
const PUBLISH_MS = CLIENTS / 5;
const GROUP = 'historia_restart';

/**
 * Sends each connection to the instances in turn, as a load balancer does. It chooses the address and
 * carries no bytes: this one process has enough to do with its clients.
 */
class Balancer {
  /** When each connection was begun, ms. */
  arrivals = [];
  /** Instances that are not ready, as a balancer learns from `/readyz`. */
  away = new Set();
  #turn = 0;

  constructor(addresses) {
    this.addresses = addresses;
    const balancer = this;
    this.WebSocket = class extends WebSocket {
      constructor(_, protocol, options) {
        super(balancer.next(), protocol, { perMessageDeflate: false, ...options });
      }
    };
  }

  next() {
    this.arrivals.push(performance.now());
    const ready = this.addresses.filter((address) => !this.away.has(address));
    return `ws://${ready[(this.#turn += 1) % ready.length]}/ws`;
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
  connected = false;

  constructor(balancer, sub) {
    this.balancer = balancer;
    this.sub = sub;
    this.#dial();
  }

  #dial() {
    this.socket = new this.balancer.WebSocket('', [], { headers: { Authorization: `Bearer ${token(this.sub)}` } });
    this.socket.on('open', () => { this.connected = true; });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.connected = false;
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
  const answers = () => new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.end(() => resolve(true)));
  });
  await until(() => server.exitCode !== null || answers(), 'Redis answers');
  assert.equal(server.exitCode, null, `Redis found port ${port} taken`);
  return `redis://127.0.0.1:${port}`;
}

const part = (sorted, share) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];

/**
 * Ends an instance by a signal, starts it again, and tells how those that it held come back.
 * @param {{up(): boolean}[]} all everybody, whichever instance holds them
 */
async function restart(instance, signal, balancer, all) {
  const held = new Map();
  balancer.arrivals.length = 0;
  const start = performance.now();
  balancer.away.add(instance.address);
  const look = () => {
    for (const one of all) {
      const up = one.up();
      if (!up && !held.has(one)) held.set(one, null);
      if (up && held.get(one) === null) held.set(one, performance.now() - start);
    }
  };
  const watch = setInterval(look, 20);
  try {
    await instance.stop(signal);
    await instance.begin();
    balancer.away.delete(instance.address);
    const away = () => [...held.values()].filter((ms) => ms === null).length;
    await until(() => held.size > 0 && away() === 0, 'everybody is back', 90_000)
      .catch((error) => { throw new Error(`${error.message}: ${away()} of ${held.size} are not`); });
  } finally {
    clearInterval(watch);
  }
  const times = [...held.values()].sort((a, b) => a - b);
  const [attempts, peak] = [balancer.arrivals.length, balancer.peak()];
  return { cut: times.length, p50: part(times, 0.5), p99: part(times, 0.99), last: times.at(-1), attempts, peak };
}

const told = ({ cut, p50, p99, last, attempts, peak }) => (
  `${cut} cut off; back: half after ${Math.round(p50)} ms, 99 % after ${Math.round(p99)} ms, `
  + `all after ${Math.round(last)} ms; ${attempts} attempts, at most ${peak} in 100 ms`
);

async function joinedClients({ WebSocket: Balanced }, clients, seen) {
  const all = () => clients.every(({ groups }) => groups.get(GROUP).state === 'joined');
  for (let n = 0; n < CLIENTS; n += 1) {
    const client = new GroupcastClient('ws://balanced.test/ws', { WebSocket: Balanced, getToken: () => token(`u${n}`), timeout: 60_000, warnings: false });
    clients.push(client);
    const numbers = [];
    seen.push(numbers);
    client.join(GROUP).on('n', (data) => numbers.push(data.n));
    if (n % 50 === 49) await until(all, 'joined', 60_000);
  }
  await until(all, 'all joined', 60_000);
}

async function survives(signal, t) {
  const url = await redis(t);
  const more = `[layer]\nkind = "redis"\nurl = "${url}"\n[connections]\nmax = 20000\nretry_window = "${WINDOW_S}s"\n`;
  const instances = [];
  t.after(async () => {
    for (const instance of instances) await instance.end();
  });
  for (let n = 0; n < 2; n += 1) instances.push(await Served.start({ ports: [await freePort(), await freePort()], more }));
  const balancer = new Balancer(instances.map(({ address }) => address));
  const clients = [];
  const seen = [];
  t.after(() => clients.forEach((client) => client.close()));
  await joinedClients(balancer, clients, seen);

  let published = 0;
  const publish = () => instances[1].publish(GROUP, { type: 'n', n: (published += 1) });
  await publish();
  let publishing = true;
  const publisher = (async () => {
    while (publishing) {
      await publish();
      await new Promise((resolve) => setTimeout(resolve, PUBLISH_MS));
    }
  })();
  const ours = await restart(instances[0], signal, balancer, clients.map((client) => ({ up: () => client.state === 'connected' })))
    .finally(() => { publishing = false; });
  await publisher;
  await publish();
  await until(() => seen.every((numbers) => numbers.at(-1) === published), 'everybody has the last event', 60_000);
  const incomplete = seen.filter((numbers) => numbers.length !== published).length;
  t.diagnostic(told(ours));
  t.diagnostic(`${published} published meanwhile, ${incomplete} clients missed any or had any twice`);
  assert.equal(incomplete, 0, 'nothing missed, nothing twice');
  assert.ok(ours.cut >= CLIENTS / 4, `${ours.cut} were held by the instance`);
  assert.ok(ours.p99 < (WINDOW_S + 3) * 1000, `${ours.p99} ms`);

  for (const client of clients) client.close();
  const timers = [];
  t.after(() => timers.forEach((timer) => timer.close()));
  for (let n = 0; n < CLIENTS; n += 1) {
    timers.push(new FixedTimer(balancer, `u${n}`));
    if (n % 50 === 49) await until(() => timers.every(({ connected }) => connected), 'connected', 60_000);
  }
  await until(() => timers.every(({ connected }) => connected), 'the others are connected', 60_000);
  const fixed = await restart(instances[0], signal, balancer, timers.map((timer) => ({ up: () => timer.connected })));
  t.diagnostic(`with a fixed timer: ${told(fixed)}`);
  assert.ok(fixed.cut >= CLIENTS / 4, `${fixed.cut} of the others were held by the instance`);
}

// As a deployment does, and as the kernel does that is out of memory: without a close frame.
for (const [signal, what] of [['SIGTERM', 'drains and restarts'], ['SIGKILL', 'is killed and restarts']]) {
  test(`${CLIENTS} clients when one of two instances ${what}`, { timeout: 400_000 }, (t) => survives(signal, t));
}
