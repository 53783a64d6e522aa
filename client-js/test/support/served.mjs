// `groupcast serve` with a configuration of the test's, its tokens and its back end's side.

import { spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BINARY } from './instance.mjs';

const SECRET = 'a secret that both sides of the tests know';
const API_SECRET = 'a-secret-of-the-back-end';

const configuration = ({ ports = [0, 0], more = '' }) => `
[listen]
public = "127.0.0.1:${ports[0]}"
api = "127.0.0.1:${ports[1]}"
[auth]
leeway = "0s"
[[auth.key]]
algorithm = "HS256"
secret = "${SECRET}"
[[api.key]]
name = "test"
secret = "${API_SECRET}"
groups = ["*"]
allow = ["send", "send_user", "send_all", "members", "close", "read", "console", "tasks"]
[[grant]]
allow = ["join", "send"]
groups = ["sala_*", "historia_*"]
[[layer.history]]
pattern = "historia_*"
size = 1000
ttl = "5m"
[[route]]
path = "/ws"
join = ["usuario_{sub}"]
${more}`;

const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token for `sub` that is good for so many seconds. */
export function token(sub, seconds = 3600, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const text = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ sub, exp: now + seconds, jti: randomUUID(), ...claims })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

export class Served {
  #folder = mkdtempSync(join(tmpdir(), 'groupcast-served-'));
  #process;

  /** @param {{ports?: number[], more?: string}} options `more`: lines of the configuration */
  static async start(options = {}) {
    const served = new Served();
    writeFileSync(join(served.#folder, 'gateway.toml'), configuration(options));
    await served.begin();
    return served;
  }

  async begin() {
    const file = join(this.#folder, 'gateway.toml');
    // The gateway takes no variable of its prefix that it does not know.
    const own = ([name]) => !name.startsWith('GROUPCAST_');
    const env = Object.fromEntries([...Object.entries(process.env).filter(own), ['LC_ALL', 'C']]);
    const child = spawn(BINARY, ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.#process = child;
    this.log = [];
    const said = new Promise((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on('line', (line) => {
          this.log.push(line);
          const addresses = line.match(/127\.0\.0\.1:\d+/g);
          if (addresses?.length >= 2) resolve(addresses);
        });
      }
      child.on('exit', () => reject(new Error(`the gateway ended:\n${this.log.join('\n')}`)));
    });
    const [open, api] = await said;
    this.address = open;
    this.api = `http://${api}`;
    this.url = `ws://${open}/ws`;
    return this;
  }

  get pid() {
    return this.#process.pid;
  }

  async ask(method, path, body, headers = {}) {
    return fetch(`${this.api}${path}`, {
      method,
      headers: { Authorization: `Bearer ${API_SECRET}`, 'Content-Type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async publish(group, event) {
    const response = await this.ask('POST', `/groups/${group}/send`, event);
    if (response.status !== 202) throw new Error(`publishing: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Ends it, at once or as a deployment does. */
  async stop(signal = 'SIGKILL') {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const exit = once(this.#process, 'exit');
      this.#process.kill(signal);
      await exit;
    }
  }

  async end() {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
