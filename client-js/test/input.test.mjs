import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GroupcastClient, UnauthorizedError } from './support/client.mjs';
import { joined, record, settle, start } from './support/gateway.mjs';

const NAMES = [undefined, null, {}, [], 7, '', 'sin espacio', 'x'.repeat(100), '..', Symbol('s')];
const POSITIONS = ['x', 7, {}, { epoch: 1, offset: 2 }, { epoch: 'e' }, { epoch: 'e', offset: -1 }, { epoch: 'e', offset: 1.5 },
  { epoch: 'e', offset: NaN }, { epoch: 'e', offset: '3' }];

test('refuses an invalid join immediately, and no other', async (t) => {
  const world = start(t);
  const good = world.client.join('a');
  for (const name of NAMES) {
    assert.throws(() => world.client.join(name), { name: 'GroupcastError', code: 'illegal_name' });
  }
  for (const since of POSITIONS) assert.throws(() => world.client.join('b', { since }), { code: 'bad_request', message: /since/ });
  for (const timeout of [-1, NaN, '3', null]) assert.throws(() => world.client.join('b', { timeout }), { message: /timeout/ });
  world.client.join('c', null);
  world.client.join('d', { since: null });
  const socket = await world.welcome();
  assert.deepEqual(socket.frames('join')[0].groups.map(({ group }) => group), ['a', 'c', 'd']);
  joined(socket);
  assert.equal(good.state, 'joined');
  for (const event of [undefined, null, 7, '', {}]) assert.throws(() => good.on(event, () => {}), { code: 'bad_request' });
});

test('rejects an invalid request immediately', async (t) => {
  const world = start(t);
  const socket = await world.welcome();
  const circle = { type: 'e' };
  circle.circle = circle;
  const refused = {
    illegal_name: NAMES.map((name) => () => world.client.send(name, { type: 'e' })),
    invalid_event: [undefined, null, 'e', 7, [], {}, { type: 7 }, { type: '$gap' }, { type: '*' }]
      .map((data) => () => world.client.send('a', data)),
    bad_request: [
      ...[undefined, null, 7, ''].map((name) => () => world.client.call(name)),
      ...[7, '', {}].map((key) => () => world.client.call('c', null, { key })),
      ...[-1, NaN, '3'].map((timeout) => () => world.client.call('c', null, { timeout })),
    ],
  };
  for (const [code, requests] of Object.entries(refused)) {
    for (const request of requests) await assert.rejects(request(), { code, retry: false });
  }
  for (const data of [circle, { type: 'e', n: 1n }]) await assert.rejects(world.client.send('a', data), TypeError);
  assert.equal(socket.sent.length, 1);
  world.client.call('c', null, { timeout: Infinity }).catch(() => {});
  assert.equal(socket.frames('call').length, 1);
  await world.tick(5000);
  assert.equal(world.client.state, 'connected');
});

test('a signal that is none is refused before anything happens', async (t) => {
  const world = start(t, { warnings: false });
  const group = world.client.join('a');
  const socket = await world.welcome();
  joined(socket);
  const bad = { code: 'bad_request', message: /signal/ };
  for (const signal of [7, 'x', {}, [], true, new AbortController()]) {
    assert.throws(() => world.client.join('b', { signal }), bad);
    assert.throws(() => world.client.on('state', () => assert.fail(), { signal }), bad);
    assert.throws(() => group.on('e', () => assert.fail(), { signal }), bad);
    assert.throws(() => group.messages({ signal }), bad);
    assert.throws(() => group.once('e', { signal }), bad);
    await assert.rejects(world.client.send('a', { type: 'e' }, { signal }), bad);
    await assert.rejects(group.send({ type: 'e' }, { signal }), bad);
    await assert.rejects(world.client.call('c', null, { signal }), bad);
  }
  for (const signal of [null, undefined]) group.on('other', () => {}, { signal });
  await settle();
  assert.deepEqual([...world.client.groups.keys()], ['a']);
  assert.deepEqual(socket.sent.map(({ type }) => type), ['hello', 'join']);
  socket.say({ type: 'event', group: 'a', id: '1', data: { type: 'e' } });
  world.client.close();
});

test('refuses invalid tokens and options', () => {
  for (const token of [7, {}, '', 'two words', '<html>', '{"token":1}']) {
    assert.throws(() => new GroupcastClient('/ws', { token }), { code: 'bad_token' }, String(token));
    assert.throws(() => new GroupcastClient('/ws').setToken(token), { code: 'bad_token' });
  }
  assert.throws(() => new GroupcastClient('/ws', { timeout: -1 }), { code: 'bad_request' });
  assert.throws(() => new GroupcastClient('/ws').on('state', 'f'), TypeError);
  new GroupcastClient('/ws', { token: ' t\n' }).close();
  new GroupcastClient('/ws', null).close();
  const client = new GroupcastClient('/ws', { backoff: null, outbox: null, WebSocket: null, warnings: false });
  client.connect(null).catch(() => {});
  client.close();
});

const page = (status, body, more = {}) => Object.assign(new Response(body, { status }), more);
const LOGIN = '<!doctype html><form><input type="password"></form>';
const SHELL = '<!doctype html><title>Shop</title><div id="app"></div>';
const SIGN_IN = {
  null: () => null,
  'an object whose token is null': () => ({ token: null }),
  'JSON whose token is null': () => page(200, '{"token": null}'),
  'a page without a form in a response': () => page(200, SHELL),
  'a redirect to something that is no token': () => Object.defineProperty(page(200, 'Please sign in'), 'redirected', { value: true }),
  'a redirect that was not followed': () => ({ status: 0, ok: false, type: 'opaqueredirect', text: async () => '' }),
  'the error of another copy of the library': () => { throw Object.assign(new Error('no'), { code: 'unauthorized' }); },
  'UnauthorizedError': () => { throw new UnauthorizedError(); },
  'a 401': () => page(401, 'no'),
  'a 403': () => page(403, 'no'),
  'a sign-in page in a response': () => page(200, LOGIN),
  'the text of a sign-in page': () => LOGIN,
  'the error of a client of HTTP with 401': () => { throw Object.assign(new Error('401'), { response: { status: 401 } }); },
};
for (const [what, getToken] of Object.entries(SIGN_IN)) {
  test(`${what} closes the client with 4401`, async (t) => {
    const world = start(t, { getToken });
    const closed = record(world.client, 'closed');
    await assert.rejects(world.client.connect(), { code: 'unauthorized' });
    assert.equal(closed[0][1].code, 4401);
    assert.equal(world.sockets.length, 0);
  });
}

const OUTAGE = {
  'a 502': () => page(502, '<html><h1>502 Bad Gateway</h1></html>'),
  'a 404': () => page(404, ''),
  'the text of a 502': () => '<html><body><h1>502 Bad Gateway</h1></body></html>',
  'a page without spaces': () => '<html><h1>502</h1></html>',
  'an error in JSON': () => '{"detail":"down"}',
  'JSON without a token': () => page(200, '{"detail":"down"}'),
  'an empty answer': () => '',
  undefined: () => undefined,
  'a number': () => 7,
  'an object without a token': () => ({ access: 'x' }),
  'a redirect that ends in a failure': () => Object.defineProperty(page(500, LOGIN), 'redirected', { value: true }),
  'a failed fetch': () => { throw new TypeError('fetch failed'); },
  'a rejection without a reason': () => Promise.reject(),
  'a text that is thrown': () => { throw 'down'; },
  'null that is thrown': () => { throw null; },
};
for (const [what, getToken] of Object.entries(OUTAGE)) {
  test(`${what} in place of a token is reported and retried`, async (t) => {
    const answers = [getToken, () => page(200, '{"token": "good"}')];
    const world = start(t, { getToken: () => answers.shift()() });
    const errors = record(world.client, 'error');
    world.client.connect();
    await settle();
    await settle();
    assert.equal(world.client.state, 'waiting');
    assert.equal(errors.length, 1);
    await world.tick(15_000);
    await settle();
    assert.equal((await world.welcome()).sent[0].token, 'good');
  });
}
