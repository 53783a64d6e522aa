// The demo page in a real browser on a real gateway: `npm run test:browser`.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { Instance, freePort } from './support/instance.mjs';

const SCREENSHOTS = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));
const ARGS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];
const profile = mkdtempSync(join(tmpdir(), 'groupcast-browser-'));

let ports;
let gateway;
let browser;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  ports = [await freePort(), await freePort()];
  gateway = await Instance.start(...ports);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    chromiumSandbox: process.getuid?.() !== 0,
    args: [...ARGS, `--disk-cache-dir=${profile}`],
  });
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  rmSync(profile, { recursive: true, force: true });
});

/** A page that is connected and joined; what it complains of is collected. */
async function open(t, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: { width: 1280, height: 900 }, ...options });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.complaints = [];
  page.on('console', (message) => message.type() === 'error' && page.complaints.push(message.text()));
  page.on('pageerror', (error) => page.complaints.push(error.message));
  await page.goto(gateway.page);
  await page.waitForSelector('#state[data-state=connected]');
  await page.waitForSelector('.chip[data-state=joined]:text("user_7")');
  return page;
}

test('the page connects, joins and shows what the form publishes', async (t) => {
  const page = await open(t);
  assert.match(await page.textContent('#connection'), /\w{4,}/);
  await page.fill('#fields', '{"texto": "desde el formulario", "<b>": "<img src=x onerror=alert(1)>"}');
  await page.click('#publish button');
  const event = page.locator('.event').first();
  await event.waitFor();
  assert.match(await event.innerText(), /aviso[\s\S]*user_7[\s\S]*desde el formulario[\s\S]*<img src=x/);
  assert.equal(await page.textContent('#sent'), 'Accepted');
  assert.deepEqual(page.complaints, []);
});

test('the printed curl line reaches the page, and so does the one on the page', async (t) => {
  const page = await open(t);
  const shown = await page.textContent('#curl');
  for (const [index, line] of [gateway.curl, shown].entries()) {
    const { stdout } = await promisify(execFile)('sh', ['-c', line.replace('curl ', 'curl -sS ')]);
    assert.ok(JSON.parse(stdout).id, stdout);
    await page.locator('.event').nth(index).waitFor();
  }
  assert.deepEqual(page.complaints, []);
});

test('joins and leaves groups on the page; events of others do not arrive', async (t) => {
  const page = await open(t);
  await page.fill('#join-group', 'sala 1');
  await page.click('#join button');
  assert.match(await page.textContent('#join-error'), /1 to 99/);
  await page.fill('#join-group', 'sala_1');
  await page.click('#join button');
  await page.waitForSelector('.chip[data-state=joined]:has-text("sala_1")');
  await page.fill('#group', 'sala_1');
  await page.click('#publish button');
  await page.locator('.event:has-text("sala_1")').waitFor();
  await page.click('button[aria-label="Leave sala_1"]');
  await page.waitForSelector('.chip:has-text("sala_1")', { state: 'detached' });
  await page.click('#publish button');
  await page.waitForFunction(() => document.querySelector('#sent').textContent.includes('not in sala_1'));
  assert.equal(await page.locator('.event').count(), 1);
  assert.deepEqual(page.complaints, []);
});

test('a page of another origin imports the client from the gateway', async (t) => {
  const site = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>Tienda</title>');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  t.after(() => site.close());
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${site.address().port}/`);
  const result = await page.evaluate(async ({ gateway: origin, token }) => {
    const { GroupcastClient } = await import(`${origin}client/v1/groupcast.js`);
    const client = new GroupcastClient(`${origin}ws`, { token });
    const arrived = new Promise((resolve) => { client.onmessage = resolve; });
    const group = await client.join('sala_2').ready;
    const { id } = await group.send({ type: 'saludo', texto: 'hola' });
    const message = await arrived;
    client.close();
    return { id, message };
  }, { gateway: gateway.page, token: gateway.token });
  assert.equal(result.message.id, result.id);
  assert.deepEqual(result.message.data, { type: 'saludo', texto: 'hola' });
});

test('shows errors of the form beside the field', async (t) => {
  const page = await open(t);
  await page.fill('#fields', '[1]');
  await page.fill('#type', '');
  await page.click('#publish button');
  assert.equal(await page.getAttribute('#fields', 'aria-invalid'), 'true');
  assert.match(await page.textContent('#type-error'), /needed/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'type');
  assert.equal(await page.locator('.event').count(), 0);
});

test('works with the keyboard alone', async (t) => {
  const page = await open(t);
  const reached = [];
  for (let n = 0; n < 40; n += 1) {
    await page.keyboard.press('Tab');
    const id = await page.evaluate(() => {
      const { activeElement: at } = document;
      const outline = getComputedStyle(at).outlineStyle;
      return `${at.id || at.textContent.trim()} ${outline}`;
    });
    reached.push(id);
    if (id.startsWith('fields ')) break;
  }
  assert.ok(reached.every((at) => !at.endsWith(' none')), `focus is seen: ${reached}`);
  for (const wanted of ['language', 'theme', 'join-group', 'group', 'type', 'fields']) {
    assert.ok(reached.some((at) => at.startsWith(`${wanted} `)), `${wanted} is reached: ${reached}`);
  }
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type('{"texto": "teclado"}');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.locator('.event:has-text("teclado")').waitFor();
  await page.waitForFunction(() => /aviso/.test(document.querySelector('#spoken').textContent));
});

test('a long stream keeps the page bounded', async (t) => {
  const page = await open(t);
  const { key, api, group } = await page.evaluate(() => fetch('/dev/session').then((r) => r.json()));
  for (let n = 0; n < 260; n += 1) {
    const response = await fetch(`${api}/groups/${group}/send`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'n', n }),
    });
    assert.equal(response.status, 202, await response.text());
  }
  await page.waitForFunction(() => document.querySelector('#count').textContent === '260');
  assert.equal(await page.locator('.event').count(), 200);
  assert.match(await page.locator('.event').first().innerText(), /259/);
});

test('the page reconnects to a restarted gateway and reports a possible gap', async (t) => {
  const page = await open(t);
  await gateway.stop();
  await page.waitForSelector('#state:not([data-state=connected])');
  gateway = await Instance.start(...ports);
  await page.waitForSelector('#state[data-state=connected]', { timeout: 30_000 });
  await page.waitForSelector('.chip[data-state=joined]:text("user_7")');
  await page.locator('.note').waitFor();
  await page.click('#publish button');
  await page.locator('.event').first().waitFor();
  // Refused connections while it was away are the browser's own messages; there may be no others.
  assert.deepEqual(page.complaints.filter((text) => !/WebSocket connection|ERR_CONNECTION|dev\/session|Failed to (load|fetch)/.test(text)), []);
});

for (const locale of ['en-GB', 'es-CO']) {
  for (const colorScheme of ['light', 'dark']) {
    test(`looks right in ${locale}, ${colorScheme}`, async (t) => {
      const page = await open(t, { locale, colorScheme });
      const language = locale.slice(0, 2);
      assert.equal(await page.getAttribute('html', 'lang'), language);
      assert.equal(await page.textContent('#state-word'), language === 'es' ? 'Conectado' : 'Connected');
      await page.screenshot({ path: `${SCREENSHOTS}empty-${language}-${colorScheme}.png` });
      await page.fill('#join-group', 'sala_1');
      await page.click('#join button');
      await page.waitForSelector('.chip[data-state=joined]:has-text("sala_1")');
      const events = [
        ['imagen_procesada', '{"imagen_id": 42, "url": "/media/42/mini.webp", "ms": 812}'],
        ['pedido.estado', '{"pedido": 1187, "estado": "enviado", "lineas": [{"sku": "A-1", "n": 2}]}'],
        ['aviso', '{"texto": "hola"}'],
      ];
      for (const [type, fields] of events) {
        await page.fill('#type', type);
        await page.fill('#fields', fields);
        await page.click('#publish button');
        await page.locator(`.event:has-text("${type}")`).waitFor();
      }
      await page.waitForTimeout(600);
      await page.screenshot({ path: `${SCREENSHOTS}page-${language}-${colorScheme}.png`, fullPage: true });
      await page.setViewportSize({ width: 360, height: 740 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${overflow}px wider than the screen`);
      await page.screenshot({ path: `${SCREENSHOTS}narrow-${language}-${colorScheme}.png`, fullPage: true });
      assert.deepEqual(page.complaints, []);
    });
  }
}

test('language and appearance can be chosen and are stored', async (t) => {
  const page = await open(t);
  await page.selectOption('#language', 'es');
  await page.selectOption('#theme', 'dark');
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.reload();
  await page.waitForSelector('#state[data-state=connected]');
  assert.equal(await page.textContent('#publish-title'), 'Publicar un evento');
  assert.equal(await ground(), dark);
  await page.selectOption('#theme', 'light');
  assert.notEqual(await ground(), dark);
});

test('text and edges have enough contrast in both appearances', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(t, { colorScheme });
    const low = await page.evaluate(measureContrasts);
    assert.deepEqual(low, [], colorScheme);
  }
});

/** Runs in the page: pairs of colours that are too close (WCAG 2.2: 4.5:1 for text, 3:1 for edges). */
function measureContrasts() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const luminance = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.body.appendChild(document.createElement('i'));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const ratio = (one, other) => {
    const [high, low] = [luminance(colour(one)), luminance(colour(other))].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const text = ['text', 'muted', 'accent', 'good', 'wait', 'bad'].map((name) => [name, 'card', 4.5]);
  const more = [
    ['text', 'ground', 4.5], ['muted', 'ground', 4.5], ['text', 'sunk', 4.5], ['accent', 'soft', 4.5],
    ['on-accent', 'accent', 4.5], ['edge', 'card', 3],
  ];
  const low = [...text, ...more].filter(([one, other, least]) => ratio(one, other) < least);
  probe.remove();
  return low.map(([one, other]) => `${one} on ${other}: ${ratio(one, other).toFixed(2)}`);
}
