import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WELCOME, joined, record, settle, start } from './support/gateway.mjs';

const event = (group, offset, type = 'e') => ({ type: 'event', group, offset, data: { type } });
const since = (offset, epoch = '1.1') => ({ epoch, offset });
const refusal = (code, retry = false) => ({ error: { code, message: code, retry } });

test('reports what a handle with its own position misses only to that handle', async (t) => {
  const world = start(t);
  const first = record(world.client.join('a'), '$gap', '$joined');
  const socket = await world.welcome();
  joined(socket, { epoch: '1.1', offset: 9 });
  const late = world.client.join('a', { since: since(4) });
  const seen = record(late, '$joined', '$gap');
  await settle();
  assert.deepEqual(seen.map(([name, { recovered, from, to, lost }]) => [name, recovered, from, to, lost]), [
    ['$joined', false, undefined, undefined, undefined], ['$gap', undefined, 5, 9, 5],
  ]);
  assert.equal(first.length, 1);
  const current = record(world.client.join('a', { since: since(9) }), '$joined', '$gap');
  await settle();
  assert.deepEqual(current.map(([name, { recovered }]) => [name, recovered]), [['$joined', true]]);
});

test('reports a possible gap where a position is of another epoch or the group keeps no history', async (t) => {
  const world = start(t);
  const socket = await world.welcome({ groups: [{ group: 'a', epoch: '2.1', offset: 3 }, { group: 'b' }] });
  const gaps = ['a', 'b'].map((name) => record(world.client.join(name, { since: since(3) }), '$gap'));
  await settle();
  assert.deepEqual(gaps.map(([[, { possible }]]) => possible), [true, true]);
  assert.equal(socket.frames('join').length, 0);
});

test('replays from the earliest position of a turn, and gives each handle what it has not seen', async (t) => {
  const world = start(t);
  const seen = { early: [], late: [] };
  for (const [name, offset] of [['late', 6], ['early', 4]]) {
    const group = world.client.join('a', { since: since(offset) });
    group.on('e', (_, { position }) => seen[name].push(position.offset));
    group.on('$gap', () => seen[name].push('gap'));
  }
  const socket = await world.welcome();
  assert.deepEqual(socket.frames('join')[0].groups, [{ group: 'a', since: since(4) }]);
  joined(socket, { epoch: '1.1', offset: 7, recovered: true });
  for (const offset of [5, 6, 7, 8]) socket.say(event('a', offset));
  assert.deepEqual(seen, { early: [5, 6, 7, 8], late: [7, 8] });
  socket.say({ type: 'gap', group: 'a', reason: 'layer', epoch: '2.1' });
  socket.say(event('a', 1));
  assert.deepEqual(seen.late, [7, 8, 'gap', 1], 'a position of an old epoch holds nothing back');
});

test('reports what a position given during a join misses', async (t) => {
  const world = start(t);
  world.client.join('a');
  const socket = await world.welcome();
  const gaps = record(world.client.join('a', { since: since(2) }), '$gap');
  await settle();
  joined(socket, { epoch: '1.1', offset: 5 });
  assert.deepEqual(gaps.map(([, { from, to }]) => [from, to]), [[3, 5]]);
});

test('asks in hello for groups that the server may join', async (t) => {
  const world = start(t);
  const group = world.client.join('usuario_7', { since: since(4) });
  const seen = record(group, '$joined', '$gap', 'e');
  const socket = await world.welcome({ groups: [{ group: 'usuario_7', epoch: '1.1', offset: 5, recovered: true }] });
  assert.deepEqual(socket.sent[0].since, { usuario_7: since(4) });
  socket.say(event('usuario_7', 5));
  assert.deepEqual(seen.map(([name]) => name), ['$joined', 'e']);
});

test('events named like membership events do not reach their listeners', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const lifecycle = record(group, '$joined', '$left', '$gap');
  const all = record(group, '*');
  const heard = record(world.client, 'event');
  const socket = await world.welcome();
  joined(socket);
  for (const [n, type] of ['$gap', '$left', '$joined', '*', '$anything', 'e'].entries()) {
    socket.say({ type: 'event', group: 'a', id: `${n}`, data: { type } });
  }
  assert.deepEqual(lifecycle.map(([name]) => name), ['$joined']);
  assert.equal(all.length, 6, 'each once, as an ordinary message');
  assert.equal(heard.length, 6);
});

test('listeners added after the promise of a join still get its events', async (t) => {
  const world = start(t);
  const open = async () => {
    const group = world.client.join('a', { since: since(1, '0.9') });
    await group.ready;
    return group;
  };
  const seen = [];
  const opened = open().then(async (group) => {
    await null;
    for (const name of ['$joined', '$gap', 'e']) group.on(name, () => seen.push(name));
  });
  const socket = await world.welcome();
  joined(socket, { epoch: '1.1', offset: 0, recovered: false });
  for (let offset = 1; offset <= 100; offset += 1) socket.say(event('a', offset));
  await opened;
  await settle();
  assert.deepEqual(seen.slice(0, 3), ['$joined', '$gap', 'e']);
  assert.equal(seen.length, 102);
});

test('listeners added after connect resolves still get events that came with the welcome', async (t) => {
  const world = start(t);
  const seen = [];
  const connected = world.client.connect().then(() => {
    world.client.groups.get('usuario_7').on('e', () => seen.push('e'));
    world.client.join('usuario_7').on('$joined', () => seen.push('$joined'));
  });
  await settle();
  world.socket.open();
  world.socket.say({ ...WELCOME, groups: [{ group: 'usuario_7' }] });
  world.socket.say({ type: 'event', group: 'usuario_7', id: '1', data: { type: 'e' } });
  await connected;
  await settle();
  assert.deepEqual(seen.sort(), ['$joined', 'e']);
});

test('delivers what arrived before a loss', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = record(group, 'e');
  group.ready.catch(() => {});
  const socket = await world.welcome();
  joined(socket, { epoch: '1.1', offset: 0 });
  socket.say(event('a', 1));
  socket.lose(1006);
  assert.equal(seen.length, 1);
  assert.deepEqual(group.position, { epoch: '1.1', offset: 1 });
});

test('sends leaves before joins, one frame each', async (t) => {
  const world = start(t);
  const old = Array.from({ length: 100 }, (_, n) => world.client.join(`old_${n}`));
  const socket = await world.welcome();
  joined(socket);
  for (const group of old) group.leave();
  for (let n = 0; n < 100; n += 1) world.client.join(`new_${n}`);
  await settle();
  assert.deepEqual(socket.sent.slice(2).map(({ type, groups }) => [type, groups.length]), [['leave', 100], ['join', 100]]);
});

test('leaves that are due together share a frame', async (t) => {
  const world = start(t);
  const held = Array.from({ length: 30 }, (_, n) => world.client.join(`g_${n}`));
  const socket = await world.welcome();
  joined(socket);
  for (const group of held) group.leave();
  await world.tick(256);
  assert.deepEqual(socket.frames('leave').map(({ groups }) => groups.length), [30]);
});

test('a group left and joined again costs no frame, whatever else is joined meanwhile', async (t) => {
  const world = start(t);
  const first = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  first.leave();
  world.client.join('b');
  await settle();
  joined(socket);
  await world.tick(100);
  assert.equal(world.client.join('a').state, 'joined');
  await world.tick(1000);
  assert.deepEqual(socket.frames('leave'), []);
  assert.equal(socket.frames('join').length, 2);
});

test('groups that linger make room for one that finds no place', async (t) => {
  const world = start(t);
  const held = ['x', 'y'].map((name) => world.client.join(name));
  const socket = await world.welcome();
  joined(socket);
  for (const group of held) group.leave();
  const late = ['a', 'b', 'c'].map((name) => world.client.join(name));
  const left = late.map((group) => record(group, '$left'));
  const ready = Promise.all(late.slice(0, 2).map((group) => group.ready));
  await settle();
  joined(socket, refusal('too_many_groups'));
  await settle();
  const [{ id, groups }] = socket.frames('leave');
  assert.deepEqual(groups.map(({ group }) => group), ['x', 'y']);
  socket.say({ type: 'left', id, groups });
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups.map(({ group }) => group), ['a', 'b']);
  joined(socket);
  await ready;
  assert.deepEqual(left.slice(0, 2), [[], []], 'they never heard of it');
  late[0].leave();
  await world.tick(300);
  const leave = socket.frames('leave').at(-1);
  socket.say({ type: 'left', id: leave.id, groups: leave.groups });
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'c' }]);
});

test('a group does not wait for ever for a leave that is refused', async (t) => {
  const world = start(t, { warnings: false });
  const held = world.client.join('x');
  const socket = await world.welcome();
  joined(socket);
  held.leave();
  const late = world.client.join('a');
  await settle();
  joined(socket, refusal('too_many_groups'));
  await settle();
  socket.say({ type: 'error', id: socket.frames('leave')[0].id, code: 'limited', message: 'later', retry: true });
  await settle();
  assert.equal(socket.frames('join').length, 3);
  joined(socket, refusal('too_many_groups'));
  assert.equal(late.error.code, 'too_many_groups');
});

test('a free place goes to a group that is still wanted, and on where it is not needed', async (t) => {
  const world = start(t, { warnings: false });
  const held = world.client.join('held');
  const socket = await world.welcome();
  joined(socket);
  const [gone, forbidden, wanted] = ['gone', 'forbidden', 'wanted'].map((name) => world.client.join(name));
  await settle();
  joined(socket, refusal('too_many_groups'));
  held.leave();
  await world.tick(100);
  gone.leave();
  await world.tick(160);
  const [{ id, groups }] = socket.frames('leave');
  socket.say({ type: 'left', id, groups });
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'forbidden' }]);
  joined(socket, refusal('forbidden'));
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'wanted' }]);
  joined(socket);
  assert.deepEqual([forbidden.error.code, wanted.state], ['forbidden', 'joined']);
});

test('retries as many refused groups as places become free', async (t) => {
  const world = start(t);
  const held = world.client.join('held');
  const socket = await world.welcome();
  joined(socket);
  const refused = [1, 2].map((n) => world.client.join(`late_${n}`));
  await settle();
  const left = refused.map((group) => record(group, '$left'));
  joined(socket, refusal('too_many_groups'));
  assert.deepEqual(left.map(([[, { error }]]) => error.code), ['too_many_groups', 'too_many_groups']);
  held.leave();
  await world.tick(256);
  const [{ id }] = socket.frames('leave');
  socket.say({ type: 'left', id, groups: [{ group: 'held' }] });
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'late_1' }]);
  joined(socket);
  assert.deepEqual(refused.map(({ state }) => state), ['joined', 'closed']);
  socket.say({ type: 'left', groups: [{ group: 'late_1' }], reason: 'api' });
  await settle();
  assert.deepEqual(socket.frames('join').at(-1).groups, [{ group: 'late_2' }]);
});

test('a removal that crosses a new join does not end it', async (t) => {
  const world = start(t);
  const first = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  first.leave();
  await world.tick(300);
  const second = world.client.join('a');
  const seen = record(second, '$left', '$joined');
  await settle();
  socket.say({ type: 'left', groups: [{ group: 'a' }], reason: 'api' });
  joined(socket);
  await second.ready;
  assert.deepEqual(seen.map(([name]) => name), ['$joined']);
});

test('a signal removes a listener, of a group and of the client', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  const controller = new AbortController();
  const { signal } = controller;
  const seen = [];
  group.on('e', () => seen.push('group'), { signal });
  group.on('*', () => seen.push('star'), { signal });
  world.client.on('event', () => seen.push('client'), { signal });
  group.on('e', () => seen.push('once'), { signal, once: true });
  const say = (id) => socket.say({ type: 'event', group: 'a', id, data: { type: 'e' } });
  say('1');
  say('2');
  assert.deepEqual(seen, ['group', 'once', 'star', 'client', 'group', 'star', 'client']);
  controller.abort();
  say('3');
  assert.equal(seen.length, 7);
  group.on('e', () => seen.push('late'), { signal });
  world.client.on('event', () => seen.push('late'), { signal });
  say('4');
  assert.equal(seen.length, 7, 'aborted before');
  const during = new AbortController();
  group.on('e', () => during.abort());
  group.on('e', () => seen.push('during'), { signal: during.signal });
  say('5');
  assert.equal(seen.length, 7, 'aborted within the event');
});

test('a listener removed during an event does not run for it', async (t) => {
  const world = start(t);
  const group = world.client.join('a');
  const seen = [];
  group.on('e', () => {
    remove();
    other.leave();
  });
  const remove = group.on('e', () => seen.push('removed'));
  const other = world.client.join('a');
  other.on('e', () => seen.push('left'));
  other.on('*', () => seen.push('left'));
  const socket = await world.welcome();
  joined(socket);
  socket.say({ type: 'event', group: 'a', id: '1', data: { type: 'e' } });
  assert.deepEqual(seen, []);
});

test('ready settles within its timeout, while the client keeps trying', async (t) => {
  const world = start(t, { timeout: 3000 });
  const group = world.client.join('a');
  const late = assert.rejects(group.ready, { code: 'timeout', retry: true });
  const connected = assert.rejects(world.client.connect(), { code: 'timeout', retry: true });
  await settle();
  await world.tick(3001);
  await Promise.all([late, connected]);
  assert.equal(group.state, 'joining');
  const again = group.ready;
  joined(await world.welcome());
  assert.equal((await again).state, 'joined');
});

test('an abort leaves the group and rejects the promise', async (t) => {
  const world = start(t);
  const controller = new AbortController();
  const group = world.client.join('a', { signal: controller.signal });
  const ready = assert.rejects(group.ready, { code: 'closed' });
  controller.abort();
  await ready;
  assert.equal(group.state, 'closed');
  assert.equal(world.client.join('b', { signal: controller.signal }).state, 'closed');
});

test('a handle is left at the end of its block', (t) => {
  const world = start(t);
  const group = world.client.join('a');
  group[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
  assert.equal(group.state, 'closed');
  world.client[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
  assert.equal(world.client.state, 'closed');
});
