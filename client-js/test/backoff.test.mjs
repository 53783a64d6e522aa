import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackoff } from '../src/backoff.js';
import { mayReturn, parseReason } from '../src/protocol.js';
import { start } from './support/gateway.mjs';

function draws(attempt, hint, floor) {
  return Array.from({ length: 10_000 }, () => {
    const backoff = createBackoff();
    backoff.attempt = attempt;
    return backoff.next(hint, floor);
  });
}
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

test('delays fill their window evenly, and the window doubles up to 20 s', () => {
  for (const [attempt, window] of [[0, 1000], [1, 2000], [2, 4000], [4, 16_000], [5, 20_000], [40, 20_000]]) {
    const values = draws(attempt);
    assert.ok(values.every((value) => value >= 250 && value <= 250 + window), `try ${attempt}`);
    assert.ok(Math.abs(mean(values) - 250 - window / 2) < window * 0.02, `mean of try ${attempt}`);
    const tenths = new Array(10).fill(0);
    for (const value of values) tenths[Math.min(9, Math.floor((10 * (value - 250)) / window))] += 1;
    assert.ok(tenths.every((count) => count > 800 && count < 1200), `spread of try ${attempt}: ${tenths}`);
  }
});

test("the first attempt uses the window of the gateway, and never less after a close", () => {
  assert.ok(draws(0, 5000).some((value) => value > 5000));
  assert.ok(draws(1, 5000).every((value) => value <= 2250), 'a hint is for the first try only');
  assert.ok(draws(1, 30_000, 30_000).some((value) => value > 29_000));
});

test('only a stable connection resets the backoff', () => {
  const backoff = createBackoff();
  backoff.next();
  backoff.next();
  assert.equal(backoff.ended(4999), false);
  assert.equal(backoff.attempt, 2);
  assert.equal(backoff.ended(5000), true);
  assert.equal(backoff.attempt, 0);
});

test('a gateway that closes immediately is tried less and less often', async (t) => {
  const world = start(t, { random: 1 });
  const delays = [];
  world.client.on('waiting', ({ delay }) => delays.push(delay));
  for (let n = 0; n < 6; n += 1) {
    await world.welcome();
    world.socket.lose(4500, '{"reason":"internal error"}');
    await world.tick(delays.at(-1));
  }
  assert.deepEqual(delays, [1250, 2250, 4250, 8250, 16_250, 20_250]);
});

test('a broken connection uses the window of welcome, a silent one that of the client', async (t) => {
  const world = start(t, { random: 1 });
  const delays = [];
  world.client.on('waiting', ({ delay }) => delays.push(delay));
  await world.welcome();
  await world.tick(11_000);
  world.socket.lose(1006);
  await world.tick(delays.at(-1));
  await world.welcome();
  await world.tick(36_000);
  assert.deepEqual(delays, [5250, 1250]);
});

test('close codes decide whether to reconnect', () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4399, 4500, 4503, 4504, 4508, 4529, 4999]) {
    assert.ok(mayReturn(code), `${code}`);
  }
  for (const code of [1003, 1007, 1008, 1009, 4400, 4401, 4403, 4409, 4413, 4499]) {
    assert.ok(!mayReturn(code), `${code}`);
  }
});

test('reads close reasons of other servers, too', () => {
  assert.deepEqual(parseReason('{"reason":"draining","retry_ms":62000}'), { reason: 'draining', retryMs: 62_000 });
  for (const text of ['', 'going away', 'null', '[]', '{"retry_ms":"soon"}', '{"retry_ms":-1}']) {
    const { reason, retryMs } = parseReason(text);
    assert.deepEqual([reason, retryMs], [text, undefined]);
  }
});
