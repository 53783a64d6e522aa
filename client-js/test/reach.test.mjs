import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joined, settle, start } from './support/gateway.mjs';

/** What Vue's `reactive` does: wraps whatever object is read, and hands `this` as the wrapper. */
function deep(target, seen = new WeakMap()) {
  const left = [Promise, Map].some((kind) => target instanceof kind);
  if (typeof target !== 'object' || target === null || left) return target;
  if (!seen.has(target)) {
    seen.set(target, new Proxy(target, {
      get: (object, key, receiver) => deep(Reflect.get(object, key, receiver), seen),
      set: (object, key, value, receiver) => Reflect.set(object, key, value, receiver),
    }));
  }
  return seen.get(target);
}
const plain = (target) => new Proxy(target, {});

for (const [what, wrap] of Object.entries({ 'a plain proxy': plain, 'a deep proxy': deep })) {
  test(`every call works through ${what}`, async (t) => {
    const world = start(t);
    const state = wrap({ client: wrap(world.client) });
    const group = wrap(state.client.join('a'));
    const seen = [];
    state.client.onmessage = ({ event }) => seen.push(event);
    state.client.on('event', ({ event }) => seen.push(event));
    const remove = group.on('e', () => seen.push('e'));
    const ready = group.ready;
    const connected = state.client.connect();
    const socket = await world.welcome();
    joined(socket);
    await Promise.all([ready, connected]);
    socket.say({ type: 'event', group: 'a', id: '1', data: { type: 'e' } });
    await settle();
    remove();
    assert.deepEqual(seen, ['e', 'e', 'e']);
    assert.equal(state.client.state, 'connected');
    assert.equal(state.client.id, 'i-1');
    assert.equal(state.client.groups.size, 1);
    assert.deepEqual([group.name, group.state, group.position, group.error], ['a', 'joined', undefined, null]);
    const sent = group.send({ type: 'e' });
    const called = state.client.call('c');
    for (const { id } of socket.sent.slice(-2)) socket.say({ type: 'result', id, data: {} });
    await Promise.all([sent, called]);
    state.client.setToken('t');
    const loop = (async () => {
      for await (const message of group) return message.event;
    })();
    const next = group.once('e');
    socket.say({ type: 'event', group: 'a', id: '2', data: { type: 'e' } });
    assert.equal(await loop, 'e');
    assert.equal((await next).id, '2');
    group.leave();
    state.client.leave('a');
    state.client.reconnect();
    state.client.close();
    await settle();
    assert.equal(world.client.state, 'closed');
  });
}
