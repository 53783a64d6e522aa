// Chromium with tabs that are hidden for real, which Playwright's never are: over plain CDP.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import WebSocket from 'ws';
import { ARGS } from './chromium.mjs';
import { until } from './until.mjs';

export class Tabs {
  #folder = mkdtempSync(join(tmpdir(), 'groupcast-tabs-'));
  #lastId = 0;
  #waiting = new Map();

  static async open() {
    const tabs = new Tabs();
    const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
    const args = [...ARGS, ...sandbox, '--headless=new', '--remote-debugging-port=0', `--user-data-dir=${tabs.#folder}`];
    // A process group of its own: a machine that sleeps stops all of it.
    const options = { stdio: ['ignore', 'ignore', 'pipe'], detached: true };
    tabs.browser = spawn(process.env.CHROMIUM ?? '/usr/bin/chromium', args, options);
    let text = '';
    tabs.browser.stderr.on('data', (data) => { text += data; });
    const address = await until(() => text.match(/DevTools listening on (ws:\S+)/)?.[1], 'Chromium listens', 60_000);
    tabs.socket = new WebSocket(address);
    tabs.socket.on('message', (data) => tabs.#answered(JSON.parse(data)));
    await once(tabs.socket, 'open');
    return tabs;
  }

  #answered({ id, result, error }) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) request?.reject(new Error(JSON.stringify(error)));
    else request?.resolve(result);
  }

  #ask(method, params = {}, sessionId = undefined) {
    return new Promise((resolve, reject) => {
      this.#waiting.set((this.#lastId += 1), { resolve, reject });
      this.socket.send(JSON.stringify({ id: this.#lastId, method, params, sessionId }));
    });
  }

  /** A tab in front of the others. */
  async tab(url) {
    const { targetId } = await this.#ask('Target.createTarget', { url });
    const { sessionId } = await this.#ask('Target.attachToTarget', { targetId, flatten: true });
    const tab = {
      show: () => this.#ask('Target.activateTarget', { targetId }),
      lifecycle: (state) => this.#ask('Page.setWebLifecycleState', { state }, sessionId),
      close: () => this.#ask('Target.closeTarget', { targetId }),
      /** Runs `script(argument)` there. */
      run: async (script, argument) => {
        const expression = `(${script})(${JSON.stringify(argument) ?? ''})`;
        const options = { expression, returnByValue: true, awaitPromise: true };
        const { result, exceptionDetails } = await this.#ask('Runtime.evaluate', options, sessionId);
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
      },
    };
    await until(() => tab.run((address) => document.readyState === 'complete' && location.href === address, url), 'the page');
    return tab;
  }

  /** `SIGSTOP` and `SIGCONT`, for all processes of the browser. */
  signal(name) {
    process.kill(-this.browser.pid, name);
  }

  async close() {
    this.socket.terminate();
    if (this.browser.exitCode === null) {
      const exit = once(this.browser, 'exit');
      this.signal('SIGKILL');
      await exit;
    }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
