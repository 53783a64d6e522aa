// A model of a gateway that asks for tokens in time and closes when they have run out, lives of any
// length, pages that are hidden now and then, and chance. A seed repeats a run: `SEED=7 node --test …`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chance } from './support/chance.mjs';
import { settle, start } from './support/gateway.mjs';

/** Ten minutes, or forty lives. */
const spanOf = (life) => Math.max(600, life * 40);

async function run(t, seed) {
  const random = chance(seed);
  const life = 2 + Math.floor(random() ** 2 * 3600);
  let fetched = 0;
  const world = start(t, { random, getToken: () => `t${(fetched += 1)}` });
  const socket = await world.welcome({ expires_in: life, ping_ms: 3_600_000 });
  let acceptedAt = Date.now();
  let asked = false;
  let served = 0;
  const step = Math.max(50, life * 5);
  const end = Date.now() + spanOf(life) * 1000;
  let hidden = false;
  while (Date.now() < end) {
    if (random() < 0.02) hidden = !hidden;
    // In a hidden page the clock goes on and no timer runs, or late.
    if (hidden && random() < 0.95) t.mock.timers.setTime(Date.now() + step);
    else t.mock.timers.tick(step);
    await settle();
    const age = Date.now() - acceptedAt;
    assert.ok(age < life * 1000, `it ran out after ${life} s, ${fetched} fetched`);
    if (!asked && age >= Math.max(life * 800, life * 1000 - 60_000)) {
      asked = true;
      socket.say({ type: 'auth_due' });
      await settle();
    }
    for (const { id } of socket.frames('auth').slice(served)) {
      served += 1;
      acceptedAt = Date.now();
      asked = false;
      socket.say({ type: 'authed', id, expires_in: life });
    }
    if (random() < 0.05) socket.say({ type: 'ping' });
  }
  assert.equal(world.sockets.length, 1, 'the connection was kept');
  return fetched / (spanOf(life) / life);
}

describe('renewal', () => {
  const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 20 }, (_, n) => n + 1);
  for (const seed of seeds) {
    test(`seed ${seed}`, async (t) => {
      const perLife = await run(t, seed);
      assert.ok(perLife > 0.9 && perLife < 1.8, `${perLife} fetched in each life`);
    });
  }
});
