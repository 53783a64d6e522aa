import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnauthorizedError } from './support/client.mjs';
import { WELCOME, record, settle, start } from './support/gateway.mjs';

/** A `getToken` that gives t1, t2, … and notes why it was asked. */
function source() {
  const reasons = [];
  const getToken = async ({ reason }) => {
    reasons.push(reason);
    return `t${reasons.length}`;
  };
  return { reasons, getToken };
}

test('the token travels in hello, never in the address', async (t) => {
  const world = start(t, { token: 'secreto' });
  const socket = await world.welcome();
  assert.deepEqual(socket.sent[0], { type: 'hello', token: 'secreto', client: 'groupcast-js/0.1.0' });
  assert.equal(socket.url, 'ws://gateway.test/ws');
  assert.equal(socket.protocol, 'groupcast.v1.json');
});

test('sends hello without a token if there is none', async (t) => {
  const world = start(t);
  assert.deepEqual((await world.welcome()).sent[0], { type: 'hello', client: 'groupcast-js/0.1.0' });
});

test('reuses a valid token to reconnect', async (t) => {
  const { reasons, getToken } = source();
  const world = start(t, { getToken });
  await world.welcome({ expires_in: 3600 });
  world.socket.lose(1006);
  await world.tick(5000);
  assert.equal((await world.welcome()).sent[0].token, 't1');
  assert.deepEqual(reasons, ['initial']);
});

test('replaces an old token before reconnecting', async (t) => {
  const { reasons, getToken } = source();
  const world = start(t, { getToken, backoff: { min: 3_000_000 } });
  await world.welcome({ expires_in: 3600 });
  world.socket.lose(1006);
  await world.tick(3_010_000);
  assert.equal((await world.welcome()).sent[0].token, 't2');
  assert.deepEqual(reasons, ['initial', 'expiring']);
});

test('renews a token on the open connection after four fifths of its life', async (t) => {
  const { reasons, getToken } = source();
  const world = start(t, { getToken });
  const socket = await world.welcome({ expires_in: 10, ping_ms: 100_000 });
  await world.tick(7999);
  assert.deepEqual(socket.frames('auth'), []);
  await world.tick(1);
  assert.deepEqual(socket.frames('auth').map(({ token }) => token), ['t2']);
  socket.say({ type: 'authed', id: socket.frames('auth')[0].id, expires_in: 20 });
  await world.tick(16_000);
  assert.deepEqual(reasons, ['initial', 'expiring', 'expiring']);
  assert.equal(world.sockets.length, 1);
});

test('renewals are spread by a tenth of the life either way', async (t) => {
  for (const [random, at] of [[0, 7200], [1, 8800]]) {
    await t.test(`chance ${random}`, async (t) => {
      const world = start(t, { ...source(), random });
      const socket = await world.welcome({ expires_in: 10, ping_ms: 100_000 });
      await world.tick(at - 1);
      assert.equal(socket.frames('auth').length, 0);
      await world.tick(1);
      assert.equal(socket.frames('auth').length, 1);
    });
  }
});

test('auth_due and the timer share one call of getToken', async (t) => {
  let calls = 0;
  let give;
  const getToken = () => {
    calls += 1;
    return calls === 1 ? 't1' : new Promise((resolve) => { give = resolve; });
  };
  const world = start(t, { getToken });
  const socket = await world.welcome({ expires_in: 10 });
  socket.say({ type: 'auth_due' });
  await world.tick(8000);
  assert.equal(calls, 2);
  give('t2');
  await settle();
  assert.ok(socket.frames('auth').every(({ token }) => token === 't2'));
});

for (const random of [0, 0.5, 1]) {
  test(`a hidden page renews when the gateway asks, without a timer: chance ${random}`, async (t) => {
    const { reasons, getToken } = source();
    const world = start(t, { getToken, random });
    const socket = await world.welcome({ expires_in: 20 });
    // The clock goes on, no timer runs.
    t.mock.timers.setTime(Date.now() + 8000);
    socket.say({ type: 'auth_due' });
    await settle();
    assert.equal(reasons.length, 1, 'asked at two fifths of its life, it serves its time');
    t.mock.timers.setTime(Date.now() + 8000);
    socket.say({ type: 'auth_due' });
    await settle();
    assert.deepEqual(socket.frames('auth').map(({ token }) => token), ['t2']);
  });
}

test('4401 fetches a new token once; a second 4401 closes the client', async (t) => {
  const { reasons, getToken } = source();
  const world = start(t, { getToken });
  const closed = record(world.client, 'closed');
  world.client.connect();
  await settle();
  world.socket.open();
  world.socket.lose(4401, '{"reason":"token missing, wrong or expired"}');
  await world.tick(750);
  world.socket.open();
  assert.equal(world.socket.sent[0].token, 't2');
  assert.deepEqual(reasons, ['initial', 'rejected']);
  world.socket.lose(4401);
  assert.equal(world.client.state, 'closed');
  assert.equal(closed[0][1].code, 4401);
  assert.equal(closed[0][1].error.code, 'unauthorized');
});

test('answers 4401 with a fresh token again after a stable connection', async (t) => {
  const { reasons, getToken } = source();
  const world = start(t, { getToken });
  for (let n = 0; n < 3; n += 1) {
    await world.welcome({ ping_ms: 100_000 });
    await world.tick(10_000);
    world.socket.lose(4401);
    await world.tick(750);
  }
  assert.deepEqual(reasons, ['initial', 'rejected', 'rejected', 'rejected']);
});

test('a refused fixed token closes the client, and setToken reconnects', async (t) => {
  const world = start(t, { token: 'old' });
  world.client.connect();
  await settle();
  world.socket.lose(4401);
  assert.equal(world.client.state, 'closed');
  world.client.setToken('new');
  assert.equal((await world.welcome()).sent[0].token, 'new');
});

for (const [what, getToken] of [
  ['null', async () => null],
  ['UnauthorizedError', async () => { throw new UnauthorizedError(); }],
]) {
  test(`getToken giving ${what} closes the client without connecting`, async (t) => {
    const world = start(t, { getToken });
    await assert.rejects(world.client.connect(), { code: 'unauthorized' });
    assert.equal(world.client.state, 'closed');
    assert.equal(world.sockets.length, 0);
  });
}

test('retries any other failure of getToken after 5 to 15 s', async (t) => {
  let calls = 0;
  const getToken = async () => {
    calls += 1;
    if (calls === 1) throw new TypeError('fetch failed');
    return 't';
  };
  const world = start(t, { getToken });
  const seen = record(world.client, 'error', 'waiting');
  world.client.connect();
  await settle();
  assert.deepEqual(seen.map(([name]) => name), ['waiting', 'error']);
  assert.equal(seen[0][1].delay, 10_000);
  await world.tick(10_000);
  assert.equal((await world.welcome()).sent[0].token, 't');
});

test('a getToken that never answers is aborted after 10 s', async (t) => {
  let aborted;
  const world = start(t, { getToken: ({ signal }) => new Promise(() => { aborted = signal; }) });
  world.client.connect();
  await settle();
  await world.tick(10_000);
  assert.equal(aborted.aborted, true);
  assert.equal(world.client.state, 'waiting');
});

test('retries a failed renewal and keeps the connection', async (t) => {
  let calls = 0;
  const getToken = async () => {
    calls += 1;
    if (calls === 2) throw new Error('down');
    return `t${calls}`;
  };
  const world = start(t, { getToken });
  const errors = record(world.client, 'error');
  const socket = await world.welcome({ expires_in: 100, ping_ms: 1e6 });
  await world.tick(80_000);
  assert.equal(errors.length, 1);
  assert.equal(world.client.state, 'connected');
  await world.tick(10_000);
  assert.deepEqual(socket.frames('auth').map(({ token }) => token), ['t3']);
  const { id } = socket.frames('auth')[0];
  socket.say({ type: 'error', id, code: 'unauthorized', message: 'no', retry: false });
  assert.equal(errors.at(-1)[1].code, 'unauthorized');
  assert.equal(world.client.state, 'connected');
});

test('signing out during a renewal closes the client', async (t) => {
  let calls = 0;
  const world = start(t, { getToken: async () => ((calls += 1) === 1 ? 't' : null) });
  const socket = await world.welcome({ expires_in: 10 });
  await world.tick(8000);
  assert.equal(world.client.state, 'closed');
  assert.equal(socket.closedWith, 4401);
});

test('keeps a token that arrives after its connection has ended', async (t) => {
  let calls = 0;
  let give;
  const getToken = () => ((calls += 1) === 1 ? 't1' : new Promise((resolve) => { give = resolve; }));
  const world = start(t, { getToken });
  const first = await world.welcome({ expires_in: 10 });
  await world.tick(8000);
  first.lose(1006);
  await world.tick(5000);
  give('t2');
  await settle();
  world.socket.open();
  assert.deepEqual(first.frames('auth'), []);
  assert.equal(world.socket.sent[0].token, 't2');
  world.socket.say(WELCOME);
  assert.deepEqual(world.socket.frames('auth'), []);
  assert.equal(calls, 2);
});

test('presents a set token in band, and drops one still being fetched', async (t) => {
  let calls = 0;
  const getToken = ({ signal }) => {
    calls += 1;
    return calls === 1 ? 't1' : new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
  };
  const world = start(t, { getToken });
  const socket = await world.welcome({ expires_in: 10 });
  await world.tick(8000);
  world.client.setToken('mine');
  await settle();
  assert.deepEqual(socket.frames('auth').map(({ token }) => token), ['mine']);
  assert.equal(world.client.state, 'connected');
});

for (const [what, given] of [['a token', 'mine'], ['no token', undefined]]) {
  test(`setToken with ${what} while getToken hangs connects at once, with no error`, async (t) => {
    const signals = [];
    const getToken = ({ signal }) => (signals.push(signal), signals.length > 1 ? 'second' : new Promise(() => {}));
    const world = start(t, { getToken });
    const seen = record(world.client, 'error', 'waiting');
    world.client.connect();
    await settle();
    world.client.setToken(given);
    await settle();
    assert.equal(signals[0].aborted, true);
    world.socket.open();
    assert.equal(world.socket.sent[0].token, given ?? 'second');
    assert.deepEqual(seen, []);
  });
}

test('setToken by getToken itself is taken', async (t) => {
  const world = start(t, { getToken: () => { world.client.setToken('mine'); } });
  world.client.connect();
  await settle();
  await settle();
  world.socket.open();
  assert.equal(world.socket.sent[0].token, 'mine');
});

test('a client closed while its token is fetched opens no connection', async (t) => {
  let give;
  const world = start(t, { getToken: () => new Promise((resolve) => { give = resolve; }) });
  world.client.connect();
  await settle();
  world.client.close();
  give('t');
  await settle();
  assert.equal(world.sockets.length, 0);
});

test('presents a token set between hello and welcome after the welcome', async (t) => {
  const world = start(t, { token: 'old' });
  world.client.connect();
  await settle();
  world.socket.open();
  world.client.setToken('new');
  world.socket.say(WELCOME);
  assert.deepEqual(world.socket.frames('auth').map(({ token }) => token), ['new']);
});

test('reports auth_due to the application where there is no getToken', async (t) => {
  const world = start(t, { token: 't' });
  const errors = record(world.client, 'error');
  (await world.welcome({ expires_in: 10 })).say({ type: 'auth_due' });
  assert.equal(errors[0][1].code, 'unauthorized');
});
