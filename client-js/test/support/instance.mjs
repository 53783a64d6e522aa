// A gateway of its own for a test: `groupcast dev` on ports that were free.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const BINARY = process.env.GROUPCAST_BIN
  ?? fileURLToPath(new URL('../../../target/debug/groupcast', import.meta.url));

/** Until its greeting is complete. */
const PATIENCE_MS = 20_000;

/** One that nobody listens at, below those that Linux gives to outgoing connections. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, '127.0.0.1');
    // It rejects if somebody listens there.
    if (!await once(server, 'listening').then(() => true, () => false)) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

export class Instance {
  #process;

  /** Starts it and reads from its output where it is. */
  static async start(port = 0, apiPort = 0) {
    if (!existsSync(BINARY)) throw new Error(`no gateway at ${BINARY}; run cargo build or set GROUPCAST_BIN`);
    const instance = new Instance();
    const args = ['dev', '--port', String(port), '--api-port', String(apiPort)];
    const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, LC_ALL: 'C' } });
    instance.#process = child;
    // A gateway that never says so is ended, which ends its output, too.
    const patience = setTimeout(() => child.kill(), PATIENCE_MS);
    let text = '';
    for await (const line of createInterface({ input: child.stdout })) {
      text += `${line}\n`;
      if (line.includes('Ctrl-C')) break;
    }
    clearTimeout(patience);
    child.stdout.resume();
    instance.page = text.match(/http:\/\/\S+\/$/m)?.[0];
    instance.token = text.match(/Token +(\S+)/)?.[1];
    instance.curl = text.match(/^ {2}curl [\s\S]*?-d .*$/m)?.[0];
    if (!instance.page || !instance.curl) throw new Error(`dev did not print its page and curl line:\n${text}`);
    return instance;
  }

  async stop() {
    if (this.#process.exitCode !== null) return;
    this.#process.kill('SIGINT');
    await once(this.#process, 'exit');
  }
}
