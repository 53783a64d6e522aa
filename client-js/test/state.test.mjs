import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WELCOME, record, settle, start } from './support/gateway.mjs';

// How to bring a client into each state, and what may then happen to it.
const INTO = {
  idle: async () => {},
  connecting: async ({ client }) => {
    client.connect();
    await settle();
  },
  connected: (world) => world.welcome(),
  waiting: async (world) => {
    await world.welcome();
    world.socket.lose(1006);
  },
  closed: async (world) => {
    await world.welcome();
    world.client.close();
  },
};
const EVENTS = {
  connect: ({ client }) => void client.connect(),
  reconnect: ({ client }) => client.reconnect(),
  close: ({ client }) => client.close(),
  join: ({ client }) => void client.join('a'),
  call: ({ client }) => void client.call('c').catch(() => {}),
  open: ({ socket }) => socket?.open(),
  welcome: ({ socket }) => socket?.say(WELCOME),
  'lost 1006': ({ socket }) => socket?.lose(1006),
  'closed 4403': ({ socket }) => socket?.lose(4403, '{"reason":"not allowed"}'),
  'closed 4503': ({ socket }) => socket?.lose(4503, '{"reason":"draining","retry_ms":100}'),
  '10.1 s of silence': ({ tick }) => tick(10_100),
};
// Rows: from; columns: event; cells: to. `idle` and `closed` have no live socket, so that whatever an
// old one still says is ignored.
const TABLE = {
  idle:       ['connecting', 'connecting', 'closed', 'connecting', 'connecting', 'idle', 'idle', 'idle', 'idle', 'idle', 'idle'],
  connecting: ['connecting', 'connecting', 'closed', 'connecting', 'connecting', 'connecting', 'connected', 'waiting', 'closed', 'waiting', 'waiting'],
  connected:  ['connected', 'connected', 'closed', 'connected', 'connected', 'connected', 'connected', 'waiting', 'closed', 'waiting', 'connected'],
  waiting:    ['waiting', 'waiting', 'closed', 'waiting', 'waiting', 'waiting', 'waiting', 'waiting', 'waiting', 'waiting', 'connecting'],
  closed:     ['connecting', 'connecting', 'closed', 'closed', 'closed', 'closed', 'closed', 'closed', 'closed', 'closed', 'closed'],
};

describe('every event in every state', () => {
  for (const [from, row] of Object.entries(TABLE)) {
    Object.entries(EVENTS).forEach(([name, happen], column) => {
      test(`${from}: ${name} → ${row[column]}`, async (t) => {
        const world = start(t);
        await INTO[from](world);
        assert.equal(world.client.state, from);
        await happen(world);
        await settle();
        assert.equal(world.client.state, row[column]);
      });
    });
  }
});

test('announces states in order, each with the previous one', async (t) => {
  const world = start(t);
  const seen = record(world.client, 'state', 'waiting', 'closed');
  await world.welcome();
  world.socket.lose(4503, '{"reason":"draining","retry_ms":8000}');
  await world.tick(250 + 4000);
  world.socket.lose(4409, '{"reason":"replaced"}');
  assert.deepEqual(
    seen.map(([event, value]) => (event === 'state' ? `${value.previous}>${value.state}` : event)),
    [
      'idle>connecting', 'connecting>connected', 'connected>waiting', 'waiting',
      'waiting>connecting', 'connecting>closed', 'closed',
    ],
  );
  assert.equal(seen[3][1].delay, 250 + 4000, 'the window of the close, and half of it by chance');
  assert.equal(seen.at(-1)[1].code, 4409);
  assert.equal(seen.at(-1)[1].reason, 'replaced');
});

test('ignores frames of an abandoned socket', async (t) => {
  const world = start(t);
  const events = record(world.client, 'event');
  const old = await world.welcome();
  await world.tick(36_000);
  assert.equal(old.readyState, 2, 'the silent socket was closed');
  await world.tick(2000);
  assert.equal(world.sockets.length, 2);
  old.say({ type: 'event', id: 'x', data: { type: 'late' } });
  old.lose(4403);
  assert.equal(world.client.state, 'connecting');
  assert.deepEqual(events, []);
});

test('a ping is answered, and any frame keeps the connection alive', async (t) => {
  const world = start(t);
  const socket = await world.welcome();
  await world.tick(30_000);
  socket.say({ type: 'ping' });
  assert.equal(socket.frames('pong').length, 1);
  await world.tick(30_000);
  socket.say({ type: 'event', id: 'x', data: { type: 'e' } });
  await world.tick(34_000);
  assert.equal(world.client.state, 'connected');
  await world.tick(2000);
  assert.equal(world.client.state, 'waiting');
});

test('abandons a handshake that hangs', async (t) => {
  const world = start(t, { connectTimeout: 3000 });
  world.client.connect();
  await settle();
  world.socket.open();
  await world.tick(3001);
  assert.equal(world.client.state, 'waiting');
  assert.equal(world.socket.closedWith, null);
});

test('listeners may close, connect and throw without harm', async (t) => {
  const world = start(t);
  const uncaught = [];
  t.mock.method(globalThis, 'setTimeout', setTimeout);
  globalThis.reportError = (error) => uncaught.push(error.message);
  t.after(() => delete globalThis.reportError);
  world.client.on('state', () => { throw new Error('mine'); });
  world.client.on('state', ({ state }) => state === 'connected' && world.client.close());
  const seen = record(world.client, 'closed');
  const joined = record(world.client.join('a'), '$joined');
  await world.welcome({ groups: [{ group: 'a' }] });
  assert.equal(world.client.state, 'closed');
  assert.equal(seen.length, 1);
  assert.deepEqual(joined, [], 'a connection that a listener closed is not announced');
  assert.ok(uncaught.length >= 2);
});

test('connect resolves on welcome and rejects on a close that is final', async (t) => {
  const world = start(t);
  const first = world.client.connect();
  await world.welcome();
  await first;
  world.client.close();
  const second = world.client.connect();
  await settle();
  world.socket.lose(4400, '{"reason":"bad frame"}');
  await assert.rejects(second, { code: 'closed', message: 'bad frame', closeCode: 4400 });
});

test('an invalid address closes the client', async (t) => {
  const world = start(t, { WebSocket: class { constructor() { throw new SyntaxError('bad url'); } } });
  await assert.rejects(world.client.connect(), SyntaxError);
  assert.equal(world.client.state, 'closed');
});

test('a page that wakes up reconnects immediately, at most once in two seconds', async (t) => {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  Object.assign(globalThis, { window: page, document });
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
  });
  const world = start(t);
  await world.welcome();
  world.socket.lose(1006);
  document.visibilityState = 'hidden';
  document.dispatchEvent(new Event('visibilitychange'));
  await world.tick(300);
  assert.equal(world.sockets.length, 1, 'hidden pages wait');
  document.visibilityState = 'visible';
  page.dispatchEvent(new Event('online'));
  await world.tick(150);
  assert.equal(world.sockets.length, 2);
  world.socket.lose(1006);
  page.dispatchEvent(new Event('online'));
  await world.tick(300);
  assert.equal(world.client.state, 'waiting');
  await world.welcome();
});

test('global listeners exist only while the client is open', async (t) => {
  const counted = () => {
    const target = new EventTarget();
    target.count = 0;
    const { addEventListener, removeEventListener } = EventTarget.prototype;
    target.addEventListener = (...args) => (target.count += 1, addEventListener.apply(target, args));
    target.removeEventListener = (...args) => (target.count -= 1, removeEventListener.apply(target, args));
    return target;
  };
  Object.assign(globalThis, { window: counted(), document: counted() });
  const { window, document } = globalThis;
  t.after(() => {
    delete globalThis.window;
    delete globalThis.document;
  });
  const world = start(t);
  assert.equal(window.count + document.count, 0, 'none before connect');
  for (let round = 0; round < 3; round += 1) {
    await world.welcome();
    assert.equal(window.count + document.count, 6);
    world.client.close();
    assert.equal(window.count + document.count, 0);
  }
});
