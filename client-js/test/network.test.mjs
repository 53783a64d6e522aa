import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WELCOME, joined, record, settle, start } from './support/gateway.mjs';

/** A page, or a worker, of which only the events matter. */
function surroundings(t, { worker = false } = {}) {
  const target = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  const names = worker ? ['addEventListener', 'removeEventListener'] : ['window', 'document'];
  if (worker) for (const name of names) globalThis[name] = target[name].bind(target);
  else Object.assign(globalThis, { window: Object.assign(target, { document }), document });
  t.after(() => names.forEach((name) => delete globalThis[name]));
  return { say: (name, more) => target.dispatchEvent(Object.assign(new Event(name), more)), document };
}

for (const worker of [false, true]) {
  test(`a dead connection is detected within 2.5 s of a network event ${worker ? 'in a worker' : 'in a page'}`, async (t) => {
    const { say } = surroundings(t, { worker });
    const world = start(t);
    await world.welcome();
    say('online');
    assert.deepEqual(world.socket.frames('ping'), [{ type: 'ping' }]);
    await world.tick(2501);
    assert.equal(world.client.state, 'waiting');
    await world.tick(300);
    assert.equal(world.sockets.length, 2);
    world.client.close();
  });
}

for (const [name, ask] of Object.entries({
  online: ({ say }) => say('online'),
  offline: ({ say }) => say('offline'),
  'a page that is restored': ({ say }) => say('pageshow', { persisted: true }),
  'a page that is visible again': ({ document }) => document.dispatchEvent(new Event('visibilitychange')),
  'a thaw': ({ document }) => document.dispatchEvent(new Event('resume')),
  'reconnect()': (_, client) => client.reconnect(),
})) {
  test(`${name} probes the connection, and any frame answers the probe`, async (t) => {
    const page = surroundings(t);
    const world = start(t);
    const errors = record(world.client, 'error');
    for (const answer of [{ type: 'pong' }, { type: 'error', code: 'bad_request', message: 'unknown type', retry: false }, { type: 'ping' }]) {
      const socket = await world.welcome();
      ask(page, world.client);
      assert.equal(socket.frames('ping').length, 1);
      await world.tick(2000);
      socket.say(answer);
      await world.tick(10_000);
      assert.equal(world.client.state, 'connected');
      world.client.close();
    }
    assert.deepEqual(errors, [], 'a gateway that knows no ping of ours answers with an error');
  });

  test(`${name} ends an attempt that hangs`, async (t) => {
    const page = surroundings(t);
    const world = start(t);
    world.client.connect();
    await settle();
    await world.tick(4000);
    ask(page, world.client);
    await world.tick(300);
    assert.equal(world.sockets.length, 2);
  });
}

test('an attempt that has just started gets 2.5 s', async (t) => {
  const { say } = surroundings(t);
  const world = start(t);
  world.client.connect();
  await settle();
  await world.tick(1000);
  say('online');
  await world.tick(1400);
  assert.equal(world.client.state, 'connecting');
  assert.equal(world.sockets.length, 1);
  await world.tick(500);
  await world.tick(300);
  assert.equal(world.sockets.length, 2);
});

test('an initial pageshow changes nothing', async (t) => {
  const { say } = surroundings(t);
  const world = start(t);
  world.client.connect();
  await settle();
  await world.tick(3000);
  say('pageshow', { persisted: false });
  await world.tick(3000);
  assert.equal(world.sockets.length, 1);
});

test('online ends a getToken that hangs', async (t) => {
  const { say } = surroundings(t);
  const signals = [];
  const getToken = ({ signal }) => (signals.push(signal), signals.length > 1 ? 't' : new Promise(() => {}));
  const world = start(t, { getToken });
  world.client.connect();
  await settle();
  await world.tick(3000);
  say('online');
  await world.tick(0);
  assert.equal(signals[0].aborted, true);
  assert.equal(world.sockets.length, 1);
});

test('a getToken that had just been asked when the network returned gets 2.5 s', async (t) => {
  const { say } = surroundings(t);
  const signals = [];
  const getToken = ({ signal }) => (signals.push(signal), signals.length > 1 ? 't' : new Promise(() => {}));
  const world = start(t, { getToken });
  world.client.connect();
  await settle();
  await world.tick(500);
  say('online');
  say('online');
  await world.tick(1999);
  assert.equal(signals[0].aborted, false);
  await world.tick(1);
  assert.equal(signals[0].aborted, true);
  assert.equal(world.sockets.length, 1);
  await world.tick(2500);
  assert.equal(signals.length, 2, 'the deadline ended with the token');
  assert.equal(world.sockets.length, 1);
});

test('a renewal that hangs does not keep a page from reconnecting', async (t) => {
  const { say } = surroundings(t);
  const signals = [];
  const getToken = ({ signal }) => (signals.push(signal), signals.length === 2 ? new Promise(() => {}) : 't');
  const world = start(t, { getToken });
  await world.welcome({ expires_in: 10 });
  await world.tick(8000);
  assert.equal(signals.length, 2);
  world.socket.lose(1006);
  say('online');
  await world.tick(300);
  assert.equal(signals[1].aborted, true);
  assert.equal(world.sockets.length, 2);
});

for (const [name, more] of [['online', {}], ['pageshow', { persisted: true }]]) {
  test(`${name} soon after another wake is postponed, not dropped`, async (t) => {
    const { say } = surroundings(t);
    const world = start(t, { backoff: { min: 60_000 } });
    await world.welcome();
    world.socket.lose(1006);
    say('online');
    await world.tick(300);
    assert.equal(world.sockets.length, 2);
    world.socket.lose(1006);
    say(name, more);
    await world.tick(1000);
    assert.equal(world.sockets.length, 2, 'at most one in two seconds');
    say(name, more);
    await world.tick(1000);
    assert.equal(world.sockets.length, 3);
  });
}

test('a page that wakes up with a connection that must be dead does not wait', async (t) => {
  const { document } = surroundings(t);
  const world = start(t, { backoff: { min: 60_000 } });
  await world.welcome();
  // Asleep: no timer ran.
  t.mock.timers.setTime(Date.now() + 600_000);
  document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(world.client.state, 'waiting');
  await world.tick(300);
  assert.equal(world.sockets.length, 2);
});

test('a wake never makes a wait longer', async (t) => {
  const world = start(t);
  await world.welcome();
  world.socket.lose(1006);
  world.client.reconnect();
  await world.tick(0);
  world.socket.lose(1006);
  world.client.reconnect();
  await world.tick(750);
  assert.equal(world.sockets.length, 3, 'the back-off alone would have been 750 ms');
});

test('a page restored twice in two seconds reconnects immediately both times', async (t) => {
  const { say } = surroundings(t);
  const world = start(t, { backoff: { min: 60_000 } });
  await world.welcome();
  for (const number of [2, 3]) {
    say('pagehide', { persisted: true });
    say('pageshow', { persisted: true });
    await world.tick(300);
    assert.equal(world.sockets.length, number);
    world.socket.open();
    world.socket.say(WELCOME);
  }
});

test('a page in the back/forward cache disconnects, and rejoins within a second when restored', async (t) => {
  const { say } = surroundings(t);
  const world = start(t);
  const group = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  say('pagehide', { persisted: false });
  assert.equal(socket.closedWith, undefined);
  say('pagehide', { persisted: true });
  assert.equal(socket.closedWith, 1000);
  assert.equal(world.client.state, 'waiting');
  say('pageshow', { persisted: true });
  await world.tick(300);
  world.socket.open();
  world.socket.say(WELCOME);
  joined(world.socket);
  await settle();
  assert.equal(group.state, 'joined');
});

test('reconnect starts the next attempt immediately, at most once in two seconds', async (t) => {
  const world = start(t, { backoff: { min: 60_000 } });
  await world.welcome();
  world.socket.lose(1006);
  world.client.reconnect();
  await world.tick(1);
  assert.equal(world.sockets.length, 2);
  world.socket.lose(1006);
  world.client.reconnect();
  await world.tick(1000);
  assert.equal(world.sockets.length, 2);
  await world.tick(1000);
  assert.equal(world.sockets.length, 3);
});

test('detects silence although the clock is set back', async (t) => {
  const world = start(t);
  await world.welcome();
  let steady = performance.now();
  t.mock.method(performance, 'now', () => steady);
  t.mock.timers.setTime?.(1_000_000);
  const now = Date.now();
  t.mock.method(Date, 'now', () => now - 3_600_000);
  steady += 36_000;
  world.client.call('x').catch(() => {});
  assert.equal(world.client.state, 'waiting');
});
