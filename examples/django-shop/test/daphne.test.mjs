// The shop on both stacks at once: Daphne's consumers and the gateway are in the same groups.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Shop, arrived, buy, events, until } from './shop.mjs';

const SALES = 20;
let shop;

before(async () => {
  shop = await Shop.open('--with-daphne');
});

after(() => shop?.close());

test('consumers and gateways get each event once, in order', async (t) => {
  const pages = {
    client: await shop.enter('ana'),
    bare: await shop.enter('ana', { path: 'simple/' }),
    daphne: await shop.enter('ana', { path: 'antes/' }),
  };
  const bea = await shop.enter('bea');
  t.after(() => Promise.all([...Object.values(pages), bea].map((page) => page.context().close())));
  for (let sale = 0; sale < SALES; sale += 1) await buy(bea, 'Taza de barro');

  const seen = {};
  for (const [name, page] of Object.entries(pages)) {
    const sales = await arrived(page, name === 'client' ? 'notificacion_nueva' : 'nueva_venta', SALES);
    seen[name] = sales.map(({ id }) => id);
  }
  assert.equal(new Set(seen.client).size, SALES);
  assert.deepEqual(seen.bare, seen.client);
  assert.deepEqual([...seen.daphne].sort((a, b) => a - b), [...seen.client].sort((a, b) => a - b));

  // Nothing comes late and twice: one more passes through all of them, and is the last.
  await buy(bea, 'Lámpara de mesa');
  for (const [name, page] of Object.entries(pages)) {
    const type = name === 'client' ? 'notificacion_nueva' : 'nueva_venta';
    await until(`the last sale at ${name}`, async () => (await events(page, type)).at(-1).mensaje.includes('Lámpara'));
    assert.equal((await events(page, type)).length, SALES + 1, name);
  }
});

test('a consumer marks an event of the gateway as read, and the gateway delivers that', async (t) => {
  const before = await shop.enter('ana', { path: 'antes/' });
  const now = await shop.enter('ana');
  const bea = await shop.enter('bea');
  t.after(() => Promise.all([before, now, bea].map((page) => page.context().close())));
  await buy(bea, 'Cuaderno cosido');
  const [{ id }] = await arrived(before, 'nueva_venta');
  await before.click(`[data-aviso="${id}"] button`);
  for (const page of [before, now]) await page.waitForSelector(`[data-aviso="${id}"].leida`);
});
