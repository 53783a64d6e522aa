import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WELCOME, joined, record, settle, start } from './support/gateway.mjs';

const event = (more) => ({ type: 'event', data: { type: 'e', ...more.data }, ...more });
test('joins of one turn share a frame', async (t) => {
  const world = start(t);
  const a = world.client.join('a');
  world.client.join('b');
  assert.notEqual(world.client.join('a'), a, 'each holder has a handle of its own');
  const socket = await world.welcome();
  assert.deepEqual(socket.frames('join').map(({ groups }) => groups), [[{ group: 'a' }, { group: 'b' }]]);
  joined(socket);
  assert.equal((await a.ready).state, 'joined');
  world.client.join('c');
  world.client.join('d');
  await settle();
  assert.deepEqual(socket.frames('join')[1].groups, [{ group: 'c' }, { group: 'd' }]);
  assert.equal(socket.frames('join')[1].id !== socket.frames('join')[0].id, true);
});

test('splits a join into frames that the gateway accepts', async (t) => {
  const world = start(t);
  for (let n = 0; n < 500; n += 1) world.client.join(`grupo_${n}`.padEnd(99, 'x'));
  const socket = await world.welcome({ max_bytes: 4096 });
  const frames = socket.frames('join');
  assert.equal(frames.flatMap(({ groups }) => groups).length, 500);
  assert.ok(frames.every((frame) => JSON.stringify(frame).length <= 4096));
  assert.ok(frames.length <= 17);
});

test('calls listeners in order: by type, by star, of the client', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = [];
  group.on('imagen.procesada', (data, message) => seen.push(['type', data.n, message.event]));
  group.on('*', (message) => seen.push(['star', message.data.n]));
  world.client.onmessage = (message) => seen.push(['onmessage', message.group]);
  world.client.on('event', (message) => seen.push(['event', message.id]));
  const remove = group.on('imagen_procesada', () => seen.push(['removed']));
  remove();
  const socket = await world.welcome();
  joined(socket);
  socket.say(event({ group: 'a', id: 'x', data: { type: 'imagen_procesada', n: 1 } }));
  assert.deepEqual(seen, [
    ['type', 1, 'imagen_procesada'], ['star', 1], ['onmessage', 'a'], ['event', 'x'],
  ]);
});

test('events without a group reach only the client', async (t) => {
  const world = start(t);
  const seen = record(world.client, 'event');
  const socket = await world.welcome();
  socket.say(event({ id: 'x' }));
  assert.deepEqual(seen, [['event', { event: 'e', data: { type: 'e' }, id: 'x', recovered: false }]]);
});

test('events before joined and of groups not held are not delivered', async (t) => {
  const world = start(t);
  const seen = record(world.client, 'event');
  world.client.join('a');
  const socket = await world.welcome();
  socket.say(event({ group: 'a', id: '1' }));
  socket.say(event({ group: 'b', id: '2' }));
  joined(socket);
  socket.say(event({ group: 'a', id: '3' }));
  assert.deepEqual(seen.map(([, { id }]) => id), ['3']);
});

test('a refusal closes the group with its reason, permanently', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = record(group, '$joined', '$left');
  let socket = await world.welcome();
  joined(socket, { error: { code: 'forbidden', message: 'no grant', retry: false } });
  await assert.rejects(group.ready, { code: 'forbidden', retry: false });
  assert.equal(group.state, 'closed');
  assert.deepEqual(seen.map(([name, { reason }]) => [name, reason]), [['$left', 'no grant']]);
  socket.lose(1006);
  await world.tick(5000);
  socket = await world.welcome();
  assert.equal(socket.frames('join').length, 0, 'not asked again by itself');
  world.client.join('a');
  await settle();
  joined(socket);
  assert.equal((await group.ready).state, 'joined');
});

test('temporary refusals are retried later, in one frame', async (t) => {
  const world = start(t);
  world.client.join('a');
  const socket = await world.welcome();
  joined(socket, { error: { code: 'unavailable', message: 'no layer', retry: true } });
  world.client.join('b');
  await settle();
  assert.deepEqual(socket.frames('join')[1].groups, [{ group: 'b' }]);
  joined(socket, { error: { code: 'unavailable', message: 'no layer', retry: true } });
  await world.tick(749);
  assert.equal(socket.frames('join').length, 2);
  await world.tick(1);
  assert.deepEqual(socket.frames('join')[2].groups, [{ group: 'a' }, { group: 'b' }]);
});

test('an error for a whole join refuses each of its groups', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const socket = await world.welcome();
  const { id } = socket.frames('join')[0];
  socket.say({ type: 'error', id, code: 'bad_request', message: 'm', retry: false });
  await assert.rejects(group.ready, { code: 'bad_request' });
});

test('leaves shortly after the last handle is left, unless it is joined again', async (t) => {
  const world = start(t);
  const first = world.client.join('a');
  const second = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  const seen = [];
  first.on('e', () => seen.push('first'));
  second.on('e', () => seen.push('second'));
  first.leave();
  first.leave();
  await world.tick(1000);
  socket.say(event({ group: 'a', id: '1' }));
  assert.deepEqual(seen, ['second'], 'a handle left twice takes nobody else along');
  assert.equal(first.state, 'closed');
  assert.equal(second.state, 'joined');
  second.leave();
  socket.say(event({ group: 'a', id: '2' }));
  await world.tick(100);
  const third = world.client.join('a');
  assert.equal((await third.ready).state, 'joined');
  third.on('e', () => seen.push('third'));
  await world.tick(1000);
  assert.equal(socket.frames('leave').length, 0, 'left and joined at once costs no frame');
  socket.say(event({ group: 'a', id: '3' }));
  assert.deepEqual(seen, ['second', 'third'], 'listeners of a handle go with it');
  third.leave();
  await world.tick(256);
  assert.deepEqual(socket.frames('leave').map(({ groups }) => groups), [[{ group: 'a' }]]);
  assert.equal(world.client.groups.size, 0);
});

test('ignores the answer to a join that was left meanwhile', async (t) => {
  const world = start(t);
  world.client.join('a').leave();
  const socket = await world.welcome();
  await world.tick(251);
  assert.equal(socket.sent.length, 1, 'nobody wanted it by then');
  const first = world.client.join('a');
  await settle();
  first.leave();
  await world.tick(251);
  const second = world.client.join('a');
  await settle();
  const [one, two] = socket.frames('join');
  assert.equal(socket.frames('leave').length, 1);
  socket.say({ type: 'joined', id: one.id, groups: [{ group: 'a' }] });
  assert.equal(second.state, 'joining');
  socket.say({ type: 'joined', id: two.id, groups: [{ group: 'a' }] });
  assert.equal(second.state, 'joined');
  await assert.rejects(first.ready, { code: 'closed' });
});

test('drops duplicates by offset and by id', async (t) => {
  const world = start(t);
  const seen = record(world.client, 'event');
  world.client.join('con');
  world.client.join('sin');
  const socket = await world.welcome();
  const [{ id }] = socket.frames('join');
  socket.say({ type: 'joined', id, groups: [{ group: 'con', epoch: '1.1', offset: 4 }, { group: 'sin' }] });
  for (const offset of [4, 5, 5, 6, 3]) socket.say(event({ group: 'con', offset }));
  for (const name of ['x', 'y', 'x']) socket.say(event({ group: 'sin', id: name }));
  assert.deepEqual(seen.map(([, { id: name, position }]) => name ?? position.offset), [5, 6, 'x', 'y']);
  for (let n = 0; n < 600; n += 1) socket.say(event({ group: 'sin', id: `n${n}` }));
  socket.say(event({ group: 'sin', id: 'x' }));
  assert.equal(seen.length, 605, 'ids are remembered for a while, not for ever');
});

test('reports every gap: announced, unannounced, and of a new epoch', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const gaps = record(group, '$gap');
  const socket = await world.welcome();
  joined(socket, { epoch: '1.1', offset: 4 });
  socket.say({ type: 'gap', group: 'a', reason: 'slow', epoch: '1.1', from: 5, to: 7, lost: 3 });
  socket.say(event({ group: 'a', offset: 8 }));
  socket.say(event({ group: 'a', offset: 11 }));
  socket.say({ type: 'gap', group: 'a', reason: 'layer', epoch: '2.1' });
  socket.say(event({ group: 'a', offset: 1 }));
  assert.deepEqual(gaps.map(([, { reason, from, to, lost, epoch }]) => [reason, from, to, lost, epoch]), [
    ['slow', 5, 7, 3, '1.1'], ['unannounced', 9, 10, 2, '1.1'], ['layer', undefined, undefined, undefined, '2.1'],
  ]);
  assert.deepEqual(group.position, { epoch: '2.1', offset: 1 });
  socket.say({ type: 'gap', group: 'b', reason: 'slow' });
  assert.equal(gaps.length, 3);
});

test('does not report a gap for an event that is not for this connection', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const gaps = record(group, '$gap');
  const socket = await world.welcome();
  joined(socket, { epoch: '1.1', offset: 4 });
  socket.say({ type: 'position', group: 'a', epoch: '1.1', offset: 6 });
  socket.say(event({ group: 'a', offset: 7 }));
  socket.say({ type: 'position', group: 'a', epoch: '1.1', offset: 5 });
  assert.deepEqual(group.position, { epoch: '1.1', offset: 7 });
  socket.say(event({ group: 'a', offset: 9 }));
  assert.deepEqual(gaps.map(([, { reason, from, to }]) => [reason, from, to]), [['unannounced', 8, 8]]);
});

test('reports a gap outside of groups at the client', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const ofGroup = record(group, '$gap');
  const ofNone = [];
  world.client.on('gap', (gap) => ofNone.push(gap));
  const socket = await world.welcome();
  joined(socket, {});
  socket.say({ type: 'gap', reason: 'slow', lost: 2 });
  assert.deepEqual(ofNone, [{ reason: 'slow', lost: 2, possible: false }]);
  assert.deepEqual(ofGroup, []);
});

test('rejoins with positions, and marks replayed events', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = record(group, '$joined', '$gap', '*');
  let socket = await world.welcome({ groups: [{ group: 'usuario_7', epoch: '1.9', offset: 2 }] });
  joined(socket, { epoch: '1.1', offset: 4 });
  socket.say(event({ group: 'a', offset: 5 }));
  socket.lose(1006);
  assert.equal(group.state, 'joining');
  await world.tick(5000);
  seen.length = 0;
  socket = await world.welcome({ groups: [{ group: 'usuario_7', epoch: '1.9', offset: 2, recovered: true }] });
  assert.deepEqual(socket.sent[0].since, { usuario_7: { epoch: '1.9', offset: 2 } });
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'a', since: { epoch: '1.1', offset: 5 } }]);
  joined(socket, { epoch: '1.1', offset: 7, recovered: true });
  for (const offset of [6, 7, 8]) socket.say(event({ group: 'a', offset }));
  assert.deepEqual(seen.map(([name, { recovered }]) => [name, recovered]), [
    ['$joined', true], ['*', true], ['*', true], ['*', false],
  ]);
});

test('reports a gap if recovery fails, unless nothing was missed', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const gaps = record(group, '$gap');
  const again = async (standing) => {
    world.socket.lose(1006);
    await world.tick(30_000);
    joined(await world.welcome(), standing);
  };
  joined(await world.welcome());
  assert.deepEqual(gaps, [], 'the first join misses nothing');
  await again({});
  await again({ epoch: '1.1', offset: 4 });
  await again({ epoch: '1.1', offset: 9, recovered: false });
  await again({ epoch: '1.1', offset: 9, recovered: false });
  await again({ epoch: '2.1', offset: 0, recovered: false });
  assert.deepEqual(gaps.map(([, { reason, possible, lost }]) => [reason, possible, lost]), [
    ['reconnect', true, undefined],
    ['reconnect', true, undefined],
    ['reconnect', false, 5],
    ['reconnect', true, undefined],
  ]);
  assert.deepEqual(group.position, { epoch: '2.1', offset: 0 });
});

test('groups joined by the server need no join and are never left by the application', async (t) => {
  const world = start(t);
  const seen = record(world.client, 'event');
  const socket = await world.welcome({ groups: [{ group: 'usuario_7' }] });
  const group = world.client.join('usuario_7');
  await group.ready;
  assert.equal(socket.frames('join').length, 0);
  group.leave();
  await world.tick(300);
  assert.equal(socket.frames('leave').length, 0);
  socket.say(event({ group: 'usuario_7', id: '1' }));
  assert.equal(seen.length, 1);
  socket.say({ type: 'joined', groups: [{ group: 'b' }], reason: 'api' });
  assert.deepEqual([...world.client.groups.keys()], ['usuario_7', 'b']);
  socket.say({ type: 'left', groups: [{ group: 'b' }, { group: 'never' }], reason: 'api' });
  socket.say(event({ group: 'b', id: '2' }));
  assert.equal(seen.length, 1);
  assert.deepEqual([...world.client.groups.keys()], ['usuario_7']);
});

test('reports a removal by the server to who only looks at the groups', async (t) => {
  const world = start(t);
  const socket = await world.welcome({ groups: [{ group: 'usuario_7' }] });
  const seen = record(world.client.groups.get('usuario_7'), '$left');
  socket.say({ type: 'left', groups: [{ group: 'usuario_7' }], reason: 'grants' });
  assert.deepEqual(seen.map(([, { reason }]) => reason), ['grants']);
});

test('reports a removal by the server, and stays out until the application joins again', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = record(group, '$left');
  let socket = await world.welcome();
  joined(socket);
  socket.say({ type: 'left', groups: [{ group: 'a' }], reason: 'grants' });
  assert.equal(group.state, 'closed');
  assert.deepEqual(seen.map(([, { reason }]) => reason), ['grants']);
  socket.lose(1006);
  await world.tick(5000);
  socket = await world.welcome();
  assert.equal(socket.frames('join').length, 0);
});

test('joins a group that the server no longer joins only if it has a handle', async (t) => {
  const world = start(t);
  let socket = await world.welcome({ groups: [{ group: 'a' }, { group: 'b' }] });
  world.client.join('a');
  await settle();
  assert.equal(socket.frames('join').length, 0);
  socket.lose(1006);
  await world.tick(5000);
  socket = await world.welcome();
  assert.deepEqual(socket.frames('join').map(({ groups }) => groups), [[{ group: 'a' }]]);
  assert.deepEqual([...world.client.groups.keys()], ['a']);
});

test('connect after close joins all groups with handles', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  joined(await world.welcome());
  const seen = record(group, '$left', '$joined');
  world.client.close();
  assert.equal(group.state, 'closed');
  const socket = await world.welcome();
  assert.equal(socket.frames('join').length, 1);
  joined(socket);
  await group.ready;
  assert.deepEqual(seen.map(([name]) => name), ['$joined']);
});

test('asks for the position given to join, and reports a gap if it is gone', async (t) => {
  const world = start(t);
  const since = { epoch: '1.1', offset: 3 };
  const gaps = record(world.client.join('a', { since }), '$gap');
  const socket = await world.welcome();
  assert.deepEqual(socket.frames('join')[0].groups, [{ group: 'a', since }]);
  joined(socket, { recovered: false });
  assert.equal(gaps.length, 1);
});

test('keeps hello within the limits before welcome', async (t) => {
  const world = start(t, { token: 'x'.repeat(8000) });
  const groups = Array.from({ length: 200 }, (_, n) => ({
    group: `grupo_${n}`.padEnd(90, 'y'), epoch: '123456.1234567', offset: 1e9,
  }));
  await world.welcome({ groups });
  world.socket.lose(1006);
  await world.tick(5000);
  const socket = await world.welcome({ groups: [] });
  assert.ok(JSON.stringify(socket.sent[0]).length <= WELCOME.max_bytes);
  assert.ok(Object.keys(socket.sent[0].since).length > 40);
});
