import assert from 'node:assert/strict';
import { test } from 'node:test';
import { settle, start } from './support/gateway.mjs';

test('requests wait for the connection and go out in order, after the joins', async (t) => {
  const world = start(t);
  const group = world.client.join('sala_1');
  const answers = [group.send({ type: 'uno' }), world.client.call('dos', { n: 2 }), group.send({ type: 'tres' })];
  const socket = await world.welcome();
  assert.deepEqual(socket.sent.map(({ type }) => type), ['hello', 'join', 'send', 'call', 'send']);
  for (const { id } of socket.sent.slice(2)) socket.say({ type: 'result', id, data: { id: `p${id}` } });
  assert.equal((await Promise.all(answers)).length, 3);
});

test('send and call follow the protocol, and results are matched by id', async (t) => {
  const world = start(t);
  const socket = await world.welcome();
  const sent = world.client.send('sala_1', { type: 'm' }, { echo: false, key: 'k' });
  const called = world.client.call('marcar_leida');
  const [send] = socket.frames('send');
  const [call] = socket.frames('call');
  assert.deepEqual({ ...send, id: 0 }, { type: 'send', id: 0, group: 'sala_1', data: { type: 'm' }, echo: false, key: 'k' });
  assert.deepEqual({ ...call, id: 0 }, { type: 'call', id: 0, name: 'marcar_leida' });
  socket.say({ type: 'result', id: call.id, data: null });
  socket.say({ type: 'result', id: send.id, data: { id: 'p' } });
  assert.equal(await called, null);
  assert.deepEqual(await sent, { id: 'p' });
  const refused = world.client.call('x');
  socket.say({ type: 'error', id: socket.frames('call')[1].id, code: 'no_backend', message: 'none', retry: false });
  await assert.rejects(refused, { code: 'no_backend', retry: false });
});

test('after a loss repeats sends with their key, and calls only if they have one', async (t) => {
  const world = start(t, { timeout: 60_000 });
  let socket = await world.welcome();
  const send = world.client.send('sala_1', { type: 'm' });
  const call = world.client.call('pagar');
  const keyed = world.client.call('pagar', null, { key: 'k' });
  const keys = [socket.frames('send')[0].key, 'k'];
  socket.lose(1006);
  await assert.rejects(call, { code: 'disconnected', retry: false });
  await world.tick(5000);
  socket = await world.welcome();
  assert.deepEqual(socket.sent.slice(1).map(({ key }) => key), keys);
  assert.equal(keys[0].length > 8, true);
  for (const { id } of socket.sent.slice(1)) socket.say({ type: 'result', id, data: null });
  await Promise.all([send, keyed]);
});

test('promises settle within their timeout, and tell whether anything was sent', async (t) => {
  const world = start(t);
  const waiting = assert.rejects(world.client.call('a', null, { timeout: 400 }), { code: 'expired', retry: true });
  await world.tick(400);
  await waiting;
  const socket = await world.welcome();
  assert.equal(socket.frames('call').length, 0, 'what expired is not sent later');
  const unanswered = assert.rejects(world.client.call('b', null, { timeout: 400 }), { code: 'timeout', retry: true });
  await world.tick(400);
  await unanswered;
  socket.say({ type: 'result', id: socket.frames('call')[0].id, data: 1 });
});

test('what was sent before a cut says so, and what was not does not', async (t) => {
  const world = start(t);
  const socket = await world.welcome();
  const call = world.client.call('pagar');
  const send = world.client.send('a', { type: 'e' }, { timeout: 400 });
  const aborted = new AbortController();
  const unsure = world.client.send('a', { type: 'e' }, { signal: aborted.signal });
  const [closed, closedCall] = [world.client.send('a', { type: 'e' }), world.client.call('c', null, { key: 'k' })];
  for (const promise of [closed, closedCall]) promise.catch(() => {});
  socket.lose(1006);
  await assert.rejects(call, { code: 'disconnected', sent: true });
  const late = assert.rejects(send, { code: 'timeout', sent: true, retry: true });
  const unsent = assert.rejects(world.client.send('a', { type: 'e' }, { timeout: 400 }), { code: 'expired', sent: false });
  await world.tick(400);
  await Promise.all([late, unsent]);
  const reason = assert.rejects(unsure, { name: 'AbortError' });
  aborted.abort();
  await reason;
  const never = world.client.call('c');
  world.client.close();
  for (const promise of [closed, closedCall]) await assert.rejects(promise, { code: 'closed', sent: true });
  await assert.rejects(never, { code: 'closed', sent: false });
});

test('bounds the outbox in number and bytes, and frees answered requests', async (t) => {
  const world = start(t, { outbox: { maxMessages: 3, maxBytes: 1000 } });
  const kept = [1, 2, 3].map((n) => world.client.call('n', n));
  await assert.rejects(world.client.call('n', 4), { code: 'outbox_full', retry: true });
  const socket = await world.welcome();
  socket.say({ type: 'result', id: socket.frames('call')[0].id, data: null });
  await kept[0];
  await assert.rejects(world.client.call('n', 'x'.repeat(900)), { code: 'outbox_full' });
  kept.push(world.client.call('n', 'ok'));
  world.client.close();
  const ends = await Promise.allSettled(kept);
  assert.deepEqual(ends.map(({ status, reason }) => reason?.code ?? status), ['fulfilled', 'disconnected', 'disconnected', 'disconnected']);
});

test('refuses a message over the limit of the gateway, in bytes of UTF-8', async (t) => {
  const world = start(t);
  const socket = await world.welcome({ max_bytes: 1000 });
  await assert.rejects(world.client.call('n', 'ñ'.repeat(490)), { code: 'too_large', retry: false });
  world.client.call('n', 'n'.repeat(490)).catch(() => {});
  assert.equal(socket.frames('call').length, 1);
});

test('a closed client rejects immediately', async (t) => {
  const world = start(t);
  await world.welcome();
  world.client.close();
  await assert.rejects(world.client.call('x'), { code: 'closed' });
  assert.equal(world.client.state, 'closed');
});

test('a request of a client whose address is invalid fails with a code of ours', async (t) => {
  const { client } = start(t, { WebSocket: class { constructor() { throw new DOMException('no', 'SyntaxError'); } } });
  client.on('closed', () => {});
  await assert.rejects(client.call('x'), { name: 'GroupcastError', code: 'closed', message: 'no' });
});

test('before sending, abandons a connection that was silent for too long', async (t) => {
  const world = start(t);
  const socket = await world.welcome();
  // A frozen page: the clock went on, no timer ran.
  const now = Date.now();
  t.mock.method(Date, 'now', () => now + 60_000);
  const call = world.client.call('x').catch(({ code }) => code);
  assert.equal(world.client.state, 'waiting');
  assert.equal(socket.frames('call').length, 0);
  world.client.close();
  await settle();
  assert.equal(await call, 'closed');
});
