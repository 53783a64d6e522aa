// The demo as people see it: real parts, a real browser. `make demo-test`.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Shop, arrived, buy, events, live, until } from './shop.mjs';

const SCREENSHOTS = process.env.SCREENSHOTS ?? fileURLToPath(new URL('../../../target/screenshots/shop/', import.meta.url));
const picture = (page, name, options) => page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, ...options });
// A chain, which stands for the chord where results go by rpc://, counts its last task, too.
const STEPS = process.env.SHOP_OPTIONS?.includes('rpc') ? 6 : 5;

let shop;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  shop = await Shop.open();
});

after(() => shop?.close());

/** Somebody's page, closed at the end of the test. */
async function enter(t, name, options) {
  const page = await shop.enter(name, options);
  t.after(() => page.context().close());
  return page;
}

test('a sale appears at the seller, is counted and plays a sound', async (t) => {
  const ana = await enter(t, 'ana');
  const bea = await enter(t, 'bea', { colorScheme: 'dark' });
  await ana.click('#sonido');
  const heard = () => ana.evaluate(() => Number(document.querySelector('#sonido').dataset.veces));
  assert.equal(await until('the bell tries itself', heard), 1);

  await buy(bea, 'Lámpara de mesa');
  await ana.waitForSelector('.globo:has-text("Bea compró «Lámpara de mesa»")');
  assert.equal(await heard(), 2);
  assert.equal(await ana.textContent('#sin-leer'), '1');
  await bea.waitForSelector('.globo:has-text("Compra hecha"):has-text("Lámpara de mesa")');
  const [sale] = await arrived(ana, 'notificacion_nueva');
  assert.deepEqual([sale.titulo, sale.monto], ['¡Nueva venta!', 129_900]);
  await buy(bea, 'Taza de barro');
  await ana.waitForSelector('.globo:has-text("Taza de barro")');
  // Both are counted at once, not when the next minute is over.
  await ana.waitForFunction(() => Number(document.querySelector('#resumen-ventas').textContent) >= 2);
  await picture(ana, 'sale');
  await picture(bea, 'buyer-dark');
  // Everybody sees how many are left: that came by the ingress stream.
  for (const page of [ana, bea]) await page.waitForSelector('[data-producto="1"] .quedan:text("Quedan 59")');
  assert.deepEqual([...ana.complaints, ...bea.complaints], []);
});

test('a bare WebSocket gets a welcome and the sale, shaped by its route', async (t) => {
  const ana = await enter(t, 'ana', { path: 'simple/' });
  const bea = await enter(t, 'bea');
  await ana.waitForFunction(() => /Ana\. Las ventas/.test(document.querySelector('#saludo').textContent));
  await buy(bea, 'Cuaderno cosido');
  await ana.waitForSelector('.globo:has-text("Cuaderno cosido")');
  const [sale] = await arrived(ana, 'nueva_venta');
  assert.deepEqual(Object.keys(sale).sort(), ['id', 'mensaje', 'monto', 'timestamp', 'titulo', 'type']);
  assert.equal((await events(ana, 'notificacion_nueva')).length, 0);
  await ana.click(`[data-aviso="${sale.id}"] button`);
  await ana.waitForSelector(`[data-aviso="${sale.id}"].leida`);
  assert.deepEqual([...ana.complaints, ...bea.complaints], []);
});

test('marking as read is stored and shown in every tab', async (t) => {
  const ana = await enter(t, 'ana');
  const tab = await ana.context().newPage();
  await tab.goto(shop.facts.url);
  await live(tab);
  const bea = await enter(t, 'bea');
  await buy(bea, 'Cuaderno cosido');
  const [{ id }] = await arrived(ana, 'notificacion_nueva');
  await ana.click(`[data-aviso="${id}"] button`);
  for (const page of [ana, tab]) await page.waitForSelector(`[data-aviso="${id}"].leida`);
  await ana.reload();
  await ana.waitForSelector(`[data-aviso="${id}"].leida`);
  const stored = await ana.evaluate(() => fetch('/estado/').then((answer) => answer.json()));
  assert.equal(stored.notificaciones.find((notice) => notice.id === id).leida, true);
});

test('shows the progress of a photo and then the picture', async (t) => {
  const ana = await enter(t, 'ana');
  await ana.click('#ejemplo');
  await ana.waitForSelector('[data-foto] [data-paso][data-estado=listo]');
  await ana.click('#ejemplo');
  await ana.waitForSelector('[data-foto] [data-paso="revisión"][data-estado=reintento]');
  // The bar counts the chord's steps; the site sends nothing for it.
  await ana.waitForSelector(`[data-foto] groupcast-progress[state=progress] [part=text]:has-text("4 de ${STEPS}")`);
  await ana.locator('[data-foto]').first().screenshot({ path: `${SCREENSHOTS}/progress.png` });
  await picture(ana, 'pipeline', { fullPage: true });
  await until('both pictures', () => ana.locator('[data-estado=lista] img').count().then((count) => count >= 2), 40_000);
  const loaded = await ana.locator('[data-estado=lista] img').evaluateAll((images) => Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth))));
  assert.deepEqual(loaded, [480, 480]);
  await ana.waitForSelector('[data-foto] .datos:has-text("1920 × 1280 · Pincel 1.0 · ISO 100")');
  const [done] = await events(ana, 'imagen_procesada');
  assert.deepEqual(Object.keys(done).sort(), ['imagen_id', 'type', 'url_thumbnail']);
  await picture(ana, 'photos', { fullPage: true });
  assert.deepEqual(ana.complaints, []);
});

test('a photo is processed again by a task that the page starts, with its bar', async (t) => {
  const ana = await enter(t, 'ana');
  await ana.click('#ejemplo');
  const first = await ana.waitForSelector('#fotos > :first-child[data-estado=procesando]');
  const id = Number(await first.getAttribute('data-foto'));
  const photo = ana.locator(`[data-foto="${id}"]`);
  await ana.waitForSelector(`[data-foto="${id}"][data-estado=lista] img`, { timeout: 40_000 });
  const requests = [];
  ana.on('request', (request) => request.method() === 'POST' && requests.push(request.url()));
  await photo.locator('.otra-vez').click();
  await ana.waitForSelector('[data-foto] groupcast-progress[state=progress] [part=text]:has-text("de 3")');
  await photo.screenshot({ path: `${SCREENSHOTS}/again.png` });
  await ana.waitForSelector(`[data-foto="${id}"][data-estado=lista] img`);
  const done = (await events(ana, 'imagen_procesada')).filter(({ imagen_id }) => imagen_id === id);
  assert.equal(done.length, 2);
  assert.deepEqual(requests, [], 'the site was not asked');
  const bea = await enter(t, 'bea');
  const { state } = await bea.evaluate(async (imagen_id) => {
    const { GroupcastClient } = await import('/client/v1/groupcast.js');
    const client = new GroupcastClient('/ws/notificaciones/');
    const ended = new Promise((resolve) => client.on('event', ({ data }) => data.state === 'FAILURE' && resolve(data)));
    await client.connect();
    await client.call('reprocesar', { imagen_id });
    return ended;
  }, id);
  assert.equal(state, 'FAILURE', 'the task of another user finds no such photo');
  assert.deepEqual(ana.complaints, []);
});

test('accepts any file name, and refuses other files with a message', async (t) => {
  const ana = await enter(t, 'ana');
  const photo = await ana.evaluate(() => fetch('/fotos/ejemplo/9.jpg').then((answer) => answer.arrayBuffer()).then((bytes) => [...new Uint8Array(bytes)]));
  await ana.setInputFiles('#archivo', { name: '写真 año.jpg', mimeType: 'image/jpeg', buffer: Buffer.from(photo) });
  await ana.waitForSelector('[data-estado=lista]:has-text("写真 año.jpg") img', { timeout: 30_000 });
  await ana.setInputFiles('#archivo', { name: 'nota.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('<svg onload=alert(1)>') });
  await ana.waitForSelector('#error-foto:has-text("No es una foto")');
});

test('reports a photo whose check keeps failing, and shows no photo of another user', async (t) => {
  const ana = await enter(t, 'ana');
  await ana.click('#ejemplo-falla');
  const [{ imagen_id: id }] = await until('the errback', async () => {
    const failed = await events(ana, 'imagen_fallida');
    return failed.length > 0 && failed;
  }, 40_000);
  await ana.waitForSelector(`[data-foto="${id}"][data-estado=fallida] .error:has-text("falló 4 veces")`);
  await ana.waitForSelector(`[data-foto="${id}"] groupcast-progress[state=failure]`);
  const isRetry = ({ state }) => state === 'RETRY';
  assert.equal((await events(ana, 'task.state')).some(isRetry), true, 'a retry is a state of the task');
  const sent = (await events(ana, 'imagen_progreso')).filter(({ estado }) => estado !== 'listo');
  assert.deepEqual(sent, [], 'the site sends nothing for it');
  const bea = await enter(t, 'bea');
  assert.equal(await bea.evaluate((photo) => fetch(`/fotos/${photo}/`).then((answer) => answer.status), id), 404);
});

test('the summary reaches everyone by POST', async (t) => {
  const ana = await enter(t, 'ana');
  const bea = await enter(t, 'bea');
  await buy(bea, 'Lámpara de mesa');
  await until('a summary with the sale', async () => (await events(ana, 'resumen')).some(({ ventas, monto }) => ventas > 0 && monto >= 129_900));
  await ana.waitForFunction(() => Number(document.querySelector('#resumen-ventas').textContent) > 0);
  // What both pages show is what the shop has counted, whichever minute it is by now.
  const digits = (page, id) => page.textContent(id).then((text) => Number(text.replace(/\D/g, '')));
  await until('both pages show the shop\'s own numbers', async () => {
    const { resumen } = await ana.evaluate(() => fetch('/estado/').then((answer) => answer.json()));
    const shown = await Promise.all([ana, bea].flatMap((page) => [digits(page, '#resumen-ventas'), digits(page, '#resumen-monto')]));
    return JSON.stringify(shown) === JSON.stringify([resumen.ventas, resumen.monto, resumen.ventas, resumen.monto]);
  });
});

test('a gateway that is restarted in the middle of sales loses none of them', async (t) => {
  const ana = await enter(t, 'ana');
  const bea = await enter(t, 'bea');
  const before = new Set((await events(ana, 'notificacion_nueva')).map(({ id }) => id));
  const sales = 24;
  const states = await ana.evaluateHandle(() => {
    const seen = [];
    new MutationObserver(() => seen.push(document.querySelector('#conexion').dataset.estado))
      .observe(document.querySelector('#conexion'), { attributes: true });
    return seen;
  });
  const old = shop.facts.pids;
  for (let sale = 0; sale < sales; sale += 1) {
    // One after the other, so that the page loses its gateway whichever it is.
    if (sale === 6) process.kill(old['gateway-a'], 'SIGTERM');
    if (sale === 12) {
      await until('gateway a is back', () => shop.facts.pids['gateway-a'] !== old['gateway-a']);
      process.kill(old['gateway-b'], 'SIGTERM');
    }
    await buy(bea, 'Taza de barro');
    await bea.waitForTimeout(100);
  }
  await until('gateway b is back', () => shop.facts.pids['gateway-b'] !== old['gateway-b']);
  const all = await arrived(ana, 'notificacion_nueva', before.size + sales);
  const ids = all.map(({ id }) => id).filter((id) => !before.has(id));
  assert.equal(ids.length, sales);
  assert.equal(new Set(ids).size, sales, `none twice: ${ids}`);
  assert.ok((await states.jsonValue()).includes('waiting'), 'the page did lose its gateway');
  await live(ana);
});

test('logging out closes the socket, in every tab', async (t) => {
  const ana = await enter(t, 'ana');
  const tab = await ana.context().newPage();
  await tab.goto(`${shop.facts.url}simple/`);
  await live(tab);
  const other = await enter(t, 'ana');
  await ana.click('#salir');
  await ana.waitForURL('**/entrar/**');
  assert.equal(await ana.locator('.nota').count(), 0, 'nothing of another tab where she left herself');
  await tab.waitForURL('**/entrar/?cerrada=1');
  assert.ok(!ana.url().includes('cerrada'), ana.url());
  await live(other);
  assert.ok(!other.url().includes('entrar'), 'another session of hers stays');
});

test('works with the keyboard alone, and fits a phone', async (t) => {
  const ana = await enter(t, 'ana', { colorScheme: 'dark', viewport: { width: 390, height: 844 } });
  const reached = new Set();
  for (let n = 0; n < 40; n += 1) {
    await ana.keyboard.press('Tab');
    const [name, outline] = await ana.evaluate(() => {
      const { activeElement: at } = document;
      const seen = at.closest('.soltar') ?? at;
      return [at.id || at.ariaLabel || at.textContent.trim(), getComputedStyle(seen).outlineStyle];
    });
    assert.notEqual(outline, 'none', `focus on ${name} is seen`);
    reached.add(name);
    if (name === 'ejemplo-falla') break;
  }
  for (const name of ['sonido', 'tema', 'salir', 'Comprar Mochila wayuu', 'archivo', 'ejemplo']) assert.ok(reached.has(name), name);
  const overflow = await ana.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${overflow}px wider than the screen`);
  const titles = await ana.locator('main h2:visible').allTextContents();
  assert.ok(titles.indexOf('Mis ventas') < titles.indexOf('Catálogo'), `what was sold comes first: ${titles}`);
  const broken = await ana.evaluate(() => [...document.querySelectorAll('.precio, .monto b, dt, dd, .salir, nav a, button')].filter((element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const lines = new Set([...range.getClientRects()].filter(({ width }) => width > 1).map(({ bottom }) => Math.round(bottom / 12)));
    return lines.size > 1;
  }).map(({ textContent }) => textContent.trim()));
  assert.deepEqual(broken, [], 'prices, names and buttons are in one line each');
  await ana.evaluate(() => scrollTo(0, 0));
  await picture(ana, 'phone');
});

test('the documented diff is up to date', async () => {
  await promisify(execFile)(process.env.SHOP_PYTHON ?? 'python3', [fileURLToPath(new URL('../antes/diff.py', import.meta.url)), '--check']);
});

test('text and edges keep their contrast in both appearances', async (t) => {
  for (const colorScheme of ['light', 'dark']) {
    const page = await enter(t, 'bea', { colorScheme });
    assert.deepEqual(await page.evaluate(measureContrasts), [], colorScheme);
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
  const grounds = ['fondo', 'tarjeta', 'hundido', 'suave'];
  const text = ['texto', 'tenue', 'acento', 'mal'].flatMap((name) => grounds.map((ground) => [name, ground, 4.5]));
  const more = [['bien', 'tarjeta', 4.5], ['espera', 'tarjeta', 4.5], ['sobre-acento', 'acento', 4.5], ['borde', 'tarjeta', 3]];
  const low = [...text, ...more].filter(([one, other, least]) => ratio(one, other) < least);
  probe.remove();
  return low.map(([one, other]) => `${one} on ${other}: ${ratio(one, other).toFixed(2)}`);
}
