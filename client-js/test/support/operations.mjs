// What runs beside a gateway in the tests of the console: RabbitMQ and a Celery worker, each with a
// folder and ports of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort } from './instance.mjs';
import { until } from './until.mjs';

const RABBIT = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const PYTHON = fileURLToPath(new URL('../../../target/venv/bin/python', import.meta.url));
const WORKER = fileURLToPath(new URL('../../../tests/python/worker.py', import.meta.url));

/** Kills a process and those that it has started. */
async function end(child) {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await exit;
}

/** A node with its management API, by which anybody publishes. */
export class Rabbit {
  #folder = mkdtempSync(join(tmpdir(), 'groupcast-rabbit-'));
  #epmd;
  #node;
  #management;

  static async start() {
    const rabbit = new Rabbit();
    const ports = [];
    for (let n = 0; n < 4; n += 1) ports.push(await freePort());
    await rabbit.#launch(ports);
    return rabbit;
  }

  async #launch([port, management, epmd, distribution]) {
    const within = (name) => join(this.#folder, name);
    writeFileSync(within('rabbitmq.conf'), `listeners.tcp.1 = 127.0.0.1:${port}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${management}
log.console = true
log.file = false
`);
    writeFileSync(within('plugins'), '[rabbitmq_management].\n');
    const env = {
      PATH: process.env.PATH,
      HOME: this.#folder,
      RABBITMQ_NODENAME: `groupcast-${port}@localhost`,
      RABBITMQ_CONFIG_FILE: within('rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_MNESIA_BASE: within('mnesia'),
      RABBITMQ_LOG_BASE: within('log'),
      RABBITMQ_ENABLED_PLUGINS_FILE: within('plugins'),
      RABBITMQ_DIST_PORT: `${distribution}`,
      ERL_EPMD_PORT: `${epmd}`,
    };
    // One that RabbitMQ starts itself would outlive it.
    this.#epmd = spawn('epmd', ['-address', '127.0.0.1', '-port', `${epmd}`], { stdio: 'ignore', detached: true });
    this.#node = spawn(RABBIT, [], { env, stdio: 'ignore', detached: true });
    this.#management = `http://127.0.0.1:${management}/api`;
    this.url = `amqp://guest:guest@127.0.0.1:${port}`;
    const answers = () => new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('AMQP\0\0\u0009\u0001'));
      socket.once('data', () => { socket.destroy(); resolve(true); }).once('error', () => resolve(false)).once('close', () => resolve(false));
    });
    await until(answers, 'RabbitMQ answers', 90_000);
  }

  async publish(exchange, key, event) {
    const headers = { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ properties: {}, routing_key: key, payload: JSON.stringify(event), payload_encoding: 'string' });
    const sent = async () => {
      const response = await fetch(`${this.#management}/exchanges/%2f/${exchange}/publish`, { method: 'POST', headers, body }).catch(() => null);
      return response?.ok && (await response.json()).routed;
    };
    await until(sent, `${exchange} takes ${key}`, 60_000);
  }

  async end() {
    await end(this.#node);
    await end(this.#epmd);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A Celery worker, and the site that starts its tasks: tests/python/worker.py. */
export class Worker {
  #child;
  #lines;

  static async start(options) {
    const worker = new Worker();
    const child = spawn(PYTHON, ['-B', WORKER, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    worker.#child = child;
    worker.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await worker.#lines.next();
    if (!JSON.parse(value ?? '{}').ready) throw new Error('the worker did not start');
    return worker;
  }

  /** Starts a task as a site does; returns its id. */
  async send(task, kwargs = {}) {
    this.#child.stdin.write(`${JSON.stringify({ task, kwargs })}\n`);
    return JSON.parse((await this.#lines.next()).value).id;
  }

  /** Lets a task that waits take its next step. */
  step(id) {
    this.#child.stdin.write(`${JSON.stringify({ step: id })}\n`);
  }

  async end() {
    await end(this.#child);
  }
}
