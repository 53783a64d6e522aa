import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle, start } from './support/gateway.mjs';

/** The gateway's limit: a bucket of `burst` frames, refilled at `rate` a second. */
class Limit {
  constructor(rate, burst) {
    Object.assign(this, { rate, burst, budget: burst, at: Date.now() });
  }

  take() {
    const now = Date.now();
    this.budget = Math.min(this.burst, this.budget + ((now - this.at) * this.rate) / 1000) - 1;
    this.at = now;
    return this.budget >= 0;
  }
}

for (const [rate, burst, told] of [[50, 200, false], [5, 10, true], [500, 1000, true]]) {
  test(`stays under ${rate} frames a second with bursts of ${burst}`, async (t) => {
    const world = start(t, { timeout: 600_000 });
    const limit = new Limit(rate, burst);
    const socket = await world.welcome(told ? { frames_per_second: rate, frame_burst: burst } : {});
    let counted = 0;
    const serve = () => {
      for (; counted < socket.sent.length; counted += 1) {
        const { id, type } = socket.sent[counted];
        // The hello was before the budget of the welcome.
        if (counted > 0) assert.ok(limit.take(), `frame ${counted} is one too many`);
        if (type === 'send') socket.say({ type: 'result', id, data: { id: `${id}` } });
      }
    };
    const sends = Array.from({ length: 300 }, (_, n) => world.client.send('a', { type: 'e', n }));
    let done = false;
    Promise.all(sends).then(() => { done = true; });
    for (let n = 0; n < 4000 && !done; n += 1) {
      serve();
      await world.tick(25);
      if (n % 400 === 0) socket.say({ type: 'ping' });
    }
    assert.ok(done);
    assert.deepEqual(socket.frames('send').map(({ data }) => data.n), sends.map((_, n) => n), 'in order');
  });
}

test('stays under the limit while a list scrolls, and ends in the groups that it shows', async (t) => {
  const world = start(t, { timeout: 600_000 });
  const limit = new Limit(50, 200);
  const socket = await world.welcome();
  const held = new Set();
  let counted = 1;
  const serve = () => {
    for (; counted < socket.sent.length; counted += 1) {
      const { id, type, groups } = socket.sent[counted];
      assert.ok(limit.take(), `frame ${counted} is one too many`);
      for (const { group } of groups) {
        if (type === 'join') held.add(group);
        else held.delete(group);
      }
      socket.say({ type: type === 'join' ? 'joined' : 'left', id, groups: groups.map(({ group }) => ({ group })) });
    }
  };
  const shown = [];
  for (let n = 0; n < 900; n += 1) {
    shown.push(world.client.join(`row_${n}`));
    if (shown.length > 5) shown.shift().leave();
    await settle();
    serve();
    await world.tick(16);
  }
  for (let n = 0; n < 60; n += 1) {
    await world.tick(25);
    serve();
  }
  assert.deepEqual([...held].sort(), shown.map((group) => group.name).sort());
});

test('stays under the limit while somebody asks to reconnect all the time', async (t) => {
  const world = start(t, { timeout: 600_000 });
  const limit = new Limit(50, 200);
  const socket = await world.welcome();
  let counted = 1;
  for (let n = 0; n < 3000; n += 1) {
    world.client.reconnect();
    for (; counted < socket.sent.length; counted += 1) {
      assert.ok(limit.take(), `frame ${counted} is one too many`);
      socket.say({ type: 'pong' });
    }
    await world.tick(2);
  }
  assert.equal(world.client.state, 'connected');
  assert.ok(counted > 150);
});

test('a wall clock that is set forward makes no frames due', async (t) => {
  const world = start(t, { timeout: 600_000 });
  const socket = await world.welcome({ frame_burst: 10, frames_per_second: 1 });
  for (let n = 0; n < 20; n += 1) world.client.send('a', { type: 'e' }).catch(() => {});
  assert.equal(socket.frames('send').length, 8);
  const steady = performance.now();
  t.mock.method(performance, 'now', () => steady);
  for (const { id } of socket.frames('send')) socket.say({ type: 'result', id, data: {} });
  t.mock.timers.setTime(Date.now() + 20_000);
  world.client.send('a', { type: 'e' }).catch(() => {});
  assert.equal(socket.frames('send').length, 8);
});

test('limits unanswered frames to what may arrive in one burst after a stall', async (t) => {
  const world = start(t, { timeout: 60_000 });
  const socket = await world.welcome();
  const sends = Array.from({ length: 400 }, (_, n) => world.client.send('a', { type: 'e', n }).catch(() => {}));
  await world.tick(20_000);
  assert.equal(socket.frames('send').length, 160);
  for (const { id } of socket.frames('send')) socket.say({ type: 'result', id, data: { id: 'x' } });
  await settle();
  await world.tick(20_000);
  assert.equal(socket.frames('send').length, 320);
  world.client.close();
  await Promise.all(sends);
});

test('refuses only the message that became too large for the gateway', async (t) => {
  const world = start(t, { timeout: 600_000 });
  await world.welcome({ max_bytes: 16_384 });
  world.socket.lose(1006);
  const large = world.client.send('a', { type: 'e', text: 'x'.repeat(5000) });
  const small = world.client.send('a', { type: 'e' });
  await world.tick(5000);
  const socket = await world.welcome({ max_bytes: 1024 });
  await assert.rejects(large, { code: 'too_large', sent: false });
  assert.equal(socket.frames('send').length, 1);
  world.socket.lose(1006);
  await assert.rejects(world.client.send('a', { type: 'e', text: 'x'.repeat(1000) }), { code: 'too_large' }, 'the limit is remembered');
  await world.tick(5000);
  const [{ id }] = (await world.welcome({ max_bytes: 1024 })).frames('send');
  world.socket.say({ type: 'result', id, data: { id: 'p' } });
  assert.deepEqual(await small, { id: 'p' });
});

test('hello respects the limit of the last welcome, and an omitted position becomes a gap', async (t) => {
  const world = start(t);
  const names = Array.from({ length: 20 }, (_, n) => `grupo_${n}`.padEnd(90, 'x'));
  const standings = (offset) => names.map((group) => ({ group, epoch: '1.1', offset }));
  await world.welcome({ max_bytes: 1024, groups: standings(5) });
  const gaps = [];
  for (const name of names) world.client.join(name).on('$gap', ({ lost }) => gaps.push(lost));
  world.socket.lose(1006);
  await world.tick(5000);
  const socket = await world.welcome({ max_bytes: 1024, groups: standings(7) });
  const kept = Object.keys(socket.sent[0].since).length;
  assert.ok(JSON.stringify(socket.sent[0]).length <= 1024);
  assert.ok(kept > 4 && kept < 20);
  await settle();
  assert.deepEqual(gaps, new Array(20).fill(2));
});

test('shrinks a hello that is too large for an unknown gateway', async (t) => {
  const world = start(t);
  for (let n = 0; n < 60; n += 1) world.client.join(`g_${n}`, { since: { epoch: '1.1', offset: n } });
  world.client.connect();
  let rounds = 0;
  for (; rounds < 6; rounds += 1) {
    await settle();
    world.socket.open();
    if (JSON.stringify(world.socket.sent[0]).length <= 600) break;
    world.socket.lose(4413, '{"reason":"message too large"}');
    await world.tick(25_000);
  }
  assert.equal(world.client.state, 'connecting');
  assert.ok(rounds > 0 && rounds < 5, `${rounds}`);
});

test('omits the position of a join that does not fit', async (t) => {
  const world = start(t);
  const group = world.client.join('a', { since: { epoch: 'e'.repeat(300), offset: 3 } });
  const gaps = [];
  group.on('$gap', (gap) => gaps.push(gap.possible));
  const socket = await world.welcome({ max_bytes: 256 });
  const [{ id, groups }] = socket.frames('join');
  assert.deepEqual(groups, [{ group: 'a' }]);
  socket.say({ type: 'joined', id, groups: [{ group: 'a', epoch: '1.1', offset: 9 }] });
  assert.deepEqual(gaps, [true]);
});
