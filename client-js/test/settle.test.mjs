import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joined, settle, start } from './support/gateway.mjs';

const HANGS = () => new Promise(() => {});
const lost = (code, reason) => async (world) => {
  await world.welcome();
  world.socket.lose(code, reason);
};

/** How a client gets into each state; with its options. */
const STATES = {
  'was never asked to connect': [async () => {}],
  'waits for a socket': [async ({ client }) => { client.connect(); await settle(); }],
  'waits for a welcome': [async (world) => { world.client.connect(); await settle(); world.socket.open(); }],
  'waits for a token that never comes': [async ({ client }) => { client.connect(); await settle(); }, { getToken: HANGS }],
  'waits for a token that fails': [async ({ client }) => { client.connect(); await settle(); }, { getToken: async () => { throw new Error('down'); } }],
  'waits for a getToken that throws': [async ({ client }) => { client.connect(); await settle(); }, { getToken: () => { throw new Error('down'); } }],
  'is signed out': [async ({ client }) => { client.connect(); await settle(); }, { getToken: () => null }],
  'waits after a loss': [lost(1006)],
  'waits after an overload': [lost(4503, '{"reason":"full","retry_ms":60000}')],
  'is connected, and nothing is answered': [async (world) => { await world.welcome({ ping_ms: 600_000 }); }],
  'is connected, and dead': [async (world) => { await world.welcome(); }],
  'was closed by the gateway': [lost(4403, '{"reason":"not allowed"}')],
  'was refused': [lost(4401)],
  'was closed by the application': [async (world) => { await world.welcome(); world.client.close(); }],
  'was closed before it connected': [async ({ client }) => { client.close(); }],
  'has an invalid address': [async ({ client }) => { client.connect(); await settle(); }, { WebSocket: class { constructor() { throw new SyntaxError('no'); } } }],
  'has no WebSocket': [async ({ client }) => { client.connect(); await settle(); }, { WebSocket: null }],
};

const ACTIONS = {
  connect: ({ client }) => client.connect(),
  'connect with a timeout': ({ client }) => client.connect({ timeout: 500 }),
  ready: ({ client }) => client.join('a').ready,
  'ready twice': ({ client }) => { const group = client.join('a'); return Promise.allSettled([group.ready, group.ready]); },
  'ready of a group that is left': ({ client }) => { const group = client.join('a'); const { ready } = group; group.leave(); return ready; },
  'ready of a group left before': ({ client }) => { const group = client.join('a'); group.leave(); return group.ready; },
  'ready with an aborted signal': ({ client }) => client.join('a', { signal: AbortSignal.abort() }).ready,
  send: ({ client }) => client.send('a', { type: 'e' }),
  'send by a group': ({ client }) => client.join('a').send({ type: 'e' }),
  'send by a group that is left': ({ client }) => { const group = client.join('a'); group.leave(); return group.send({ type: 'e' }); },
  call: ({ client }) => client.call('c'),
  'call with a key': ({ client }) => client.call('c', null, { key: 'k' }),
  'call that is aborted': ({ client }) => { const { signal, abort } = aborter(); const call = client.call('c', null, { signal }); abort(); return call; },
  once: ({ client }) => client.join('a').once('e', { timeout: 3000 }),
  'once that is aborted': ({ client }) => { const { signal, abort } = aborter(); const next = client.join('a').once('e', { signal }); abort(); return next; },
  'once of a group that is left': ({ client }) => { const group = client.join('a'); const next = group.once('e'); group.leave(); return next; },
  'a loop that is aborted': ({ client }) => { const { signal, abort } = aborter(); const next = client.join('a').messages({ signal }).next(); abort(); return next; },
  'a loop over a group that is left': ({ client }) => { const group = client.join('a'); const next = group.messages().next(); group.leave(); return next; },
  'a loop that returns': ({ client }) => { const loop = client.join('a').messages(); const next = loop.next(); return loop.return().then(() => next); },
  'all of a client that closes': ({ client }) => {
    const group = client.join('a');
    const all = [client.connect(), group.ready, group.send({ type: 'e' }), client.call('c'), group.once('e'), group.messages().next()];
    client.close();
    return Promise.allSettled(all);
  },
  'all of a client that reconnects and closes': ({ client }) => {
    client.reconnect();
    const group = client.join('a');
    const all = [client.connect(), group.ready, group.send({ type: 'e' }), client.call('c'), group.once('e'), group.messages().next()];
    client.close();
    return Promise.allSettled(all);
  },
};

function aborter() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

for (const [state, [reach, options]] of Object.entries(STATES)) {
  test(`no promise hangs when the client ${state}`, async (t) => {
    for (const [action, run] of Object.entries(ACTIONS)) {
      await t.test(action, async (t) => {
        const world = start(t, { warnings: false, ...options });
        await reach(world);
        let done = false;
        run(world).catch((error) => assert.ok(error instanceof Error, String(error))).finally(() => { done = true; });
        for (let seconds = 0; seconds < 11 && !done; seconds += 1) {
          await settle();
          await world.tick(1000);
        }
        await settle();
        assert.ok(done, `${action} hangs`);
        world.client.close();
        await settle();
        assert.equal(world.client.state, 'closed');
      });
    }
  });
}

test('what was asked while closed works once the client is connected again', async (t) => {
  const world = start(t, { warnings: false });
  await world.welcome();
  world.client.close();
  const group = world.client.join('a');
  await assert.rejects(group.ready, { code: 'closed' });
  const loop = group.messages();
  assert.deepEqual(await loop.next(), { done: true, value: undefined });
  joined(await world.welcome());
  await group.ready;
  const next = group.messages().next();
  world.socket.say({ type: 'event', group: 'a', id: '1', data: { type: 'e' } });
  assert.equal((await next).value.event, 'e');
});
