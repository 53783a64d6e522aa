import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joined, settle, start } from './support/gateway.mjs';

const event = (n, type = 'e') => ({ type: 'event', group: 'a', id: `${n}`, data: { type, n } });

async function opened(t) {
  const world = start(t);
  const group = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  return { world, group, socket };
}

test('a loop gets messages in order, and gaps in their place', async (t) => {
  const { group, socket } = await opened(t);
  const seen = [];
  const loop = (async () => {
    for await (const { event: type, data, gap } of group) {
      seen.push(gap ? [type, gap.reason] : [type, data.n]);
      if (data?.n === 3) break;
    }
  })();
  socket.say(event(1));
  socket.say({ type: 'gap', group: 'a', reason: 'slow', lost: 2 });
  socket.say(event(2, '$gap'));
  socket.say(event(3));
  await loop;
  assert.deepEqual(seen, [['e', 1], ['$gap', 'slow'], ['$gap', 2], ['e', 3]]);
});

test('a slow loop loses the oldest messages and gets their number', async (t) => {
  const { group, socket } = await opened(t);
  const messages = group.messages({ buffer: 10 });
  for (let n = 0; n < 25; n += 1) socket.say(event(n));
  const first = (await messages.next()).value;
  assert.deepEqual([first.event, first.gap], ['$gap', { reason: 'buffer', possible: false, lost: 15 }]);
  assert.equal((await messages.next()).value.data.n, 15);
  await messages.return();
  assert.deepEqual(await messages.next(), { done: true, value: undefined });
});

test('a loop has a buffer that is a number', async (t) => {
  const { group } = await opened(t);
  for (const buffer of [NaN, 0, -1, null, 'x', {}]) {
    assert.throws(() => group.messages({ buffer }), { code: 'bad_request', message: /buffer/ });
  }
  group.messages({ buffer: Infinity }).return();
  group.messages({ buffer: undefined }).return();
});

test('a loop ended by the application delivers what had arrived', async (t) => {
  for (const end of [({ group }) => group.leave(), ({ world }) => world.client.close(), (_, controller) => controller.abort()]) {
    await t.test(String(end), async (t) => {
      const all = await opened(t);
      const controller = new AbortController();
      const messages = all.group.messages({ signal: controller.signal });
      all.socket.say(event(1));
      end(all, controller);
      assert.equal((await messages.next()).value.data.n, 1);
      assert.equal((await messages.next()).done, true);
    });
  }
});

test('a loop throws when the group is refused or removed, or the client is closed', async (t) => {
  for (const end of [
    ({ socket }) => socket.say({ type: 'left', groups: [{ group: 'a' }], reason: 'grants' }),
    ({ socket }) => socket.lose(4403, '{"reason":"not allowed"}'),
  ]) {
    await t.test(String(end), async (t) => {
      const all = await opened(t);
      const messages = all.group.messages();
      const next = assert.rejects(messages.next(), { name: 'GroupcastError' });
      end(all);
      await next;
      assert.equal((await messages.next()).done, true);
    });
  }
});

test('once resolves with the next message, or rejects when there can be none', async (t) => {
  const { world, group, socket } = await opened(t);
  const next = group.once('pedido.nuevo');
  socket.say(event(1));
  socket.say(event(2, 'pedido_nuevo'));
  assert.equal((await next).data.n, 2);
  const gap = group.once('$gap');
  socket.say({ type: 'gap', group: 'a', reason: 'slow' });
  assert.equal((await gap).reason, 'slow');
  const controller = new AbortController();
  const aborted = assert.rejects(group.once('e', { signal: controller.signal }), { name: 'AbortError' });
  const late = assert.rejects(group.once('e', { timeout: 100 }), { code: 'timeout' });
  const left = assert.rejects(group.once('e'), { code: 'closed' });
  controller.abort();
  await world.tick(101);
  group.leave();
  await Promise.all([aborted, late, left]);
  await assert.rejects(group.once('e'), { code: 'closed' });
});

test('once stops listening when it gives up', async (t) => {
  const { world, group } = await opened(t);
  const { signal } = new AbortController();
  let listeners = 0;
  t.mock.method(signal, 'addEventListener', () => { listeners += 1; });
  t.mock.method(signal, 'removeEventListener', () => { listeners -= 1; });
  const late = assert.rejects(group.once('e', { timeout: 100, signal }), { code: 'timeout' });
  assert.ok(listeners > 0);
  await world.tick(101);
  await late;
  await settle();
  assert.equal(listeners, 0);
});

test('an abort rejects a request, and prevents sending it if it was not sent', async (t) => {
  const world = start(t);
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const waiting = assert.rejects(world.client.call('unsent', null, options), { name: 'AbortError' });
  controller.abort();
  await waiting;
  const socket = await world.welcome();
  assert.equal(socket.frames('call').length, 0);
  await assert.rejects(world.client.send('a', { type: 'e' }, options), { name: 'AbortError' });
  const second = new AbortController();
  const sent = assert.rejects(world.client.call('sent', null, { signal: second.signal }), { message: 'enough' });
  second.abort(new Error('enough'));
  await sent;
  socket.say({ type: 'result', id: socket.frames('call')[0].id, data: null });
  await settle();
});
