// The shop as a test sees it: the demo's script, and people with browsers.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = new URL('../../../', import.meta.url);
const { chromium } = createRequire(new URL('client-js/package.json', ROOT))('playwright-core');
const DEMO = fileURLToPath(new URL('../demo.py', import.meta.url));
const GATEWAY = process.env.GROUPCAST_BIN ?? fileURLToPath(new URL('target/debug/groupcast', ROOT));
// What the demo is run with besides: SHOP_OPTIONS='--broker rabbitmq'.
const OPTIONS = process.env.SHOP_OPTIONS?.split(' ').filter(Boolean) ?? [];
const START_MS = 120_000;
const WAIT_MS = 20_000;

/** Asks until it is so, or says what was wanted. */
export async function until(what, condition, timeout = WAIT_MS) {
  const deadline = Date.now() + timeout;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${timeout} ms: ${what}`);
    await pause(50);
  }
}

export class Shop {
  #process;
  #folder = mkdtempSync(join(tmpdir(), 'groupcast-shop-test-'));
  #browser;

  static async open(...options) {
    const shop = new Shop();
    const ready = join(shop.#folder, 'ready.json');
    const args = [DEMO, '--gateway', GATEWAY, '--port', '0', '--summary-seconds', '5', '--ready-file', ready, ...OPTIONS, ...options];
    shop.#process = spawn(process.env.SHOP_PYTHON ?? 'python3', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [shop.#process.stdout, shop.#process.stderr]) stream.on('data', (text) => { said += text; });
    try {
      await until('the shop is open', () => {
        if (shop.#process.exitCode !== null) throw new Error(`the demo ended:\n${said}`);
        return existsSync(ready);
      }, START_MS);
    } catch (error) {
      await shop.close();
      throw new Error(`${error.message}\n${said}`);
    }
    shop.ready = ready;
    shop.#browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      chromiumSandbox: process.getuid?.() !== 0,
      args: [
        '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
        '--disable-sync', `--disk-cache-dir=${shop.#folder}/cache`,
      ],
    });
    return shop;
  }

  /** Where everything is: changes when a gateway is started again. */
  get facts() {
    return JSON.parse(readFileSync(this.ready, 'utf8'));
  }

  async close() {
    await this.#browser?.close();
    if (this.#process.exitCode === null) {
      this.#process.kill('SIGINT');
      await once(this.#process, 'exit');
    }
    rmSync(this.#folder, { recursive: true, force: true });
    return this.#process.exitCode;
  }

  /** A browser of its own in which somebody is logged in and connected. */
  async enter(name, { path = '', ...options } = {}) {
    const { url, passwords } = this.facts;
    const person = { locale: 'es-CO', timezoneId: 'America/Bogota', viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' };
    const context = await this.#browser.newContext({ ...person, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT_MS);
    page.complaints = [];
    page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
    page.on('pageerror', (error) => page.complaints.push(error.message));
    await page.goto(`${url}${path}`);
    await page.fill('#id_username', name);
    await page.fill('#id_password', passwords[name]);
    await page.click('button.principal');
    await live(page);
    return page;
  }
}

export const live = (page) => page.waitForSelector('#conexion[data-estado=connected]');

export const buy = (page, product) => page.click(`[aria-label="Comprar ${product}"]`);

/** What arrived on a page's connection, oldest first. */
export async function events(page, type) {
  const texts = await page.locator(`#eventos li${type ? `[data-type="${type}"]` : ''} code`).allTextContents();
  return texts.map((text) => JSON.parse(text)).reverse();
}

/** Waits until so many events of a type have arrived. */
export async function arrived(page, type, count = 1) {
  await until(`${count} ${type}`, async () => (await events(page, type)).length >= count);
  return events(page, type);
}
