import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock } from '../src/clock.js';

/** Both clocks of a machine, in the test's hands. */
function clocks(t) {
  const now = { wall: 1_000_000, steady: 5000 };
  t.mock.method(Date, 'now', () => Math.floor(now.wall));
  t.mock.method(performance, 'now', () => now.steady);
  clock();
  return now;
}

const pass = (now, ms) => {
  now.wall += ms;
  now.steady += ms;
};

test('runs at the speed of time, however often it is read', (t) => {
  const now = clocks(t);
  const begin = clock();
  for (let n = 0; n < 10_000; n += 1) {
    pass(now, 0.1);
    clock();
  }
  assert.ok(Math.abs(clock() - begin - 1000) < 1, `${clock() - begin} ms in 1000`);
});

test('counts time asleep, during which the steady clock stops', (t) => {
  const now = clocks(t);
  const begin = clock();
  now.wall += 3_600_000;
  pass(now, 10);
  assert.ok(Math.abs(clock() - begin - 3_600_010) <= 1);
});

test('goes on while the wall clock is set back, as often as it is', (t) => {
  const now = clocks(t);
  const begin = clock();
  for (let n = 0; n < 5; n += 1) {
    now.wall -= 86_400_000;
    pass(now, 1000);
    clock();
  }
  assert.ok(Math.abs(clock() - begin - 5000) <= 1);
});

test('a clock that is corrected slowly counts once', (t) => {
  const now = clocks(t);
  const begin = clock();
  // 500 ppm, forward for a day, then back.
  for (const drift of [1.0005, 0.9995]) {
    for (let n = 0; n < 8640; n += 1) {
      now.wall += 10_000 * drift;
      now.steady += 10_000;
      clock();
    }
  }
  assert.ok(Math.abs(clock() - begin - 172_800_000) < 45_000);
});

test('never goes backwards', (t) => {
  const now = clocks(t);
  let last = clock();
  for (const jump of [500, -500, 5000, -5000, 999, -999, 1e9, -1e9, 0]) {
    now.wall += jump;
    pass(now, 1);
    assert.ok(clock() >= last + 1, `${jump}`);
    last = clock();
  }
});
