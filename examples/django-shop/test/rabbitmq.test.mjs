// What programs publish to RabbitMQ appears at the seller. `make demo-test`.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Shop, arrived } from './shop.mjs';

const EXAMPLES = fileURLToPath(new URL('../../rabbitmq/', import.meta.url));
const PYTHON = process.env.SHOP_PYTHON ?? 'python3';
const GO = ['/usr/local/go/bin/go', '/usr/bin/go'].find(existsSync);

let shop;

before(async () => {
  shop = await Shop.open('--broker', 'rabbitmq');
});

after(() => shop?.close());

/** A sale of another program, such as the till of the shop in town. */
function sale(id, what) {
  const event = {
    type: 'notificacion_nueva', id, titulo: '¡Nueva venta!', mensaje: `En la tienda: «${what}»`, monto: 25_000,
    timestamp: '2026-11-30T10:00:00Z',
  };
  return JSON.stringify({ key: 'notificaciones_usuario_1', id: `caja-${id}`, event });
}

function publish(command, args, url, ...lines) {
  const cwd = command === GO ? `${EXAMPLES}go` : EXAMPLES;
  const environment = { ...process.env, AMQP_URL: url };
  return JSON.parse(execFileSync(command, args, { cwd, env: environment, input: `${lines.join('\n')}\n` }));
}

test('sales that programs publish to RabbitMQ appear at the seller, each once', async (t) => {
  const ana = await shop.enter('ana');
  t.after(() => ana.context().close());
  const { amqp } = shop.facts;
  const programs = [[PYTHON, ['-B', 'publish_celery.py'], amqp], ['node', ['publish.mjs'], amqp.slice(0, -1)]];
  if (GO) programs.push([GO, ['run', '.'], amqp.slice(0, -1)]);
  else t.diagnostic('SKIPPED: there is no Go here');
  let count = 0;
  for (const [command, args, url] of programs) {
    count += 1;
    // The till was not sure, and sends it again.
    const line = sale(900_000 + count, `Jarra ${count}`);
    assert.deepEqual(publish(command, args, url, line, line), { confirmed: 2 });
    await ana.waitForSelector(`.globo:has-text("Jarra ${count}")`);
    assert.equal((await arrived(ana, 'notificacion_nueva', count)).length, count);
  }
  assert.deepEqual(ana.complaints, []);
});
