import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GroupcastClient } from './support/client.mjs';
import { joined, settle, start } from './support/gateway.mjs';

function warnings(t) {
  const lines = [];
  t.mock.method(console, 'warn', (...parts) => lines.push(parts.join(' ')));
  return lines;
}

// Whole sentences in the development build, the code and the value in the other.
const CAUSES = {
  'a refused join': [/(forbidden a|a was not joined).*no grant/, async (world) => {
    world.client.join('a');
    const socket = await world.welcome();
    joined(socket, { error: { code: 'forbidden', message: 'no grant', retry: false } });
  }],
  'a removal by the gateway': [/(left a|a was left by the gateway).*grants/, async (world) => {
    world.client.join('a');
    const socket = await world.welcome({ groups: [{ group: 'usuario_7' }] });
    joined(socket);
    socket.say({ type: 'left', groups: [{ group: 'a' }, { group: 'usuario_7' }], reason: 'grants' });
  }],
  'a mistake in getToken': [/undefinedFunction/, async (world) => {
    world.client.connect();
    await settle();
  }, { getToken: () => undefinedFunction() }],
  'a connection that never comes': [/no connection to ws:..gateway\.test.ws.* 1006: /, async (world) => {
    world.client.connect();
    await settle();
    world.socket.lose(1006);
  }],
  'a gateway that is overloaded from the start': [/no connection.* 4503: full/, async (world) => {
    world.client.connect();
    await settle();
    world.socket.lose(4503, '{"reason":"full"}');
  }],
  'a final close': [/4403.*not allowed/, async (world) => {
    await world.welcome();
    world.socket.lose(4403, '{"reason":"not allowed"}');
  }],
  'no WebSocket class': [/no.?websocket/i, async (world) => {
    world.client.connect();
    await settle();
  }, { WebSocket: null }],
  'a client event that does not exist': [/on mesage/, async ({ client }) => client.on('mesage', () => {})],
  'a group event that does not exist': [/on \$gone/, async ({ client }) => client.join('a').on('$gone', () => {})],
  'a request that failed unawaited': [/send.*forbidden/, async (world) => {
    const socket = await world.welcome();
    world.client.send('b', { type: 'e' });
    socket.say({ type: 'error', id: socket.sent.at(-1).id, code: 'forbidden', message: 'no', retry: false });
    await settle();
    await settle();
  }],
};

for (const [what, [pattern, happen, options]] of Object.entries(CAUSES)) {
  test(`${what} is printed once without a listener`, async (t) => {
    const lines = warnings(t);
    await happen(start(t, options));
    assert.equal(lines.length, 1, lines.join('\n'));
    assert.match(lines[0], pattern);
  });

  test(`${what} is not printed if warnings are switched off`, async (t) => {
    const lines = warnings(t);
    await happen(start(t, { ...options, warnings: false }));
    assert.deepEqual(lines, []);
  });
}

test('nothing with a listener is printed', async (t) => {
  const lines = warnings(t);
  const world = start(t);
  world.client.on('closed', () => {});
  world.client.on('error', () => {});
  world.client.join('a').on('$left', () => {});
  world.client.join('b').ready.catch(() => {});
  const socket = await world.welcome();
  joined(socket, { error: { code: 'forbidden', message: 'no grant', retry: false } });
  socket.say({ type: 'error', code: 'bad_request', message: 'm', retry: false });
  const refused = world.client.call('c');
  socket.say({ type: 'error', id: socket.sent.at(-1).id, code: 'no_backend', message: 'no', retry: false });
  await assert.rejects(refused);
  socket.lose(4403);
  await settle();
  await settle();
  assert.deepEqual(lines, []);
});

test('after 4401 a new token connects again, and until then a join fails at once', async (t) => {
  const world = start(t, { token: 'old', warnings: false });
  const before = world.client.join('a');
  await world.welcome();
  world.socket.lose(4401);
  assert.equal(world.client.state, 'closed');
  const refused = world.client.join('b');
  await assert.rejects(refused.ready, { code: 'unauthorized' });
  await assert.rejects(world.client.call('c'), { code: 'closed' });
  world.client.setToken('new');
  const late = world.client.join('c');
  const socket = await world.welcome();
  assert.equal(socket.sent[0].token, 'new');
  joined(socket);
  await Promise.all([before.ready, refused.ready, late.ready]);
});

test('outside of a browser a join alone does not connect; awaiting it does', async (t) => {
  const dialled = [];
  class WebSocket {
    constructor(url) {
      dialled.push(url);
    }

    close() {}
  }
  globalThis.WebSocket = WebSocket;
  t.after(() => delete globalThis.WebSocket);
  const client = new GroupcastClient('ws://gateway.test/ws', { warnings: false });
  const group = client.join('a');
  group.on('e', () => {});
  await settle();
  assert.deepEqual(dialled, []);
  assert.equal(client.state, 'idle');
  group.ready.catch(() => {});
  await settle();
  assert.equal(dialled.length, 1);
  client.close();
});

test('a throwing listener or an unawaited rejection does not end a Node process', () => {
  const program = fileURLToPath(new URL('support/careless.mjs', import.meta.url));
  const { status, stderr, stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /still here/);
  for (const mistake of ['thrown by a listener', 'rejected by a listener', 'thrown by onmessage']) {
    assert.match(stderr, new RegExp(mistake));
  }
});
