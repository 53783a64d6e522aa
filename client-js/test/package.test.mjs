import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { SERVED, contents } from '../build.mjs';
import * as core from '../dist/groupcast.core.js';
import * as development from '../dist/groupcast.development.js';
import * as built from '../dist/groupcast.js';
import { CLIENT, PING_GRACE_MS, mayReturn } from '../src/protocol.js';

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');
const { version, dependencies } = JSON.parse(read('../package.json'));
const norm = read('../../docs/protocol.md');

test('dist is what src builds to: run `npm run build` and commit it', async () => {
  for (const [path, text] of Object.entries(await contents())) assert.equal(read(`../${path}`), text, path);
});

test('the served files are compressed in advance', () => {
  for (const name of SERVED) {
    const bytes = (suffix) => readFileSync(new URL(`../dist/${name}${suffix}`, import.meta.url));
    assert.deepEqual(gunzipSync(bytes('.gz')), bytes(''));
    assert.deepEqual(brotliDecompressSync(bytes('.br')), bytes(''));
  }
});

for (const [file, most] of [['groupcast.core.js', 8200], ['groupcast.js', 8600], ['groupcast.development.js', 9700]]) {
  test(`${file} is at most ${most} bytes over the wire`, () => {
    const size = gzipSync(readFileSync(new URL(`../dist/${file}`, import.meta.url)), { level: 9 }).length;
    assert.ok(size <= most, `${size} bytes`);
  });
}

test('the production build tells the code and the value where the other has a sentence', (t) => {
  const messages = (client, join) => {
    const lines = [];
    t.mock.method(console, 'warn', (line) => lines.push(line));
    client.on('mesage', () => {});
    assert.throws(join, (error) => error.code === 'illegal_name' && Boolean(lines.push(error.message)));
    return lines;
  };
  const both = [built, development].map(({ GroupcastClient }) => {
    const client = new GroupcastClient('wss://shop.test/ws');
    return messages(client, () => client.join('two words'));
  });
  assert.deepEqual(both, [
    ['groupcast: on mesage', 'group: two words'],
    [
      'groupcast: on mesage: it is none of state waiting closed error event gap',
      'a group name is 1 to 99 of A-Z a-z 0-9 _ . -, not only dots; got "two words"',
    ],
  ]);
});

test('the production build has a word for every value', () => {
  const client = new built.GroupcastClient('wss://shop.test/ws');
  const words = [null, undefined, 7, {}, true, Symbol('s')].map((name) => {
    try {
      return client.join(name);
    } catch ({ message }) {
      return message;
    }
  });
  assert.deepEqual(words, ['group: null', 'group: undefined', 'group: number', 'group: object', 'group: boolean', 'group: symbol']);
  assert.throws(() => client.join('a', { timeout: NaN }), { message: 'timeout: NaN' });
});

test('the development build refuses options of the wrong type', () => {
  const make = (options) => () => new development.GroupcastClient('wss://shop.test/ws', options);
  const wrong = {
    connectTimeout: [{ connectTimeout: '5000' }, { connectTimeout: NaN }, { connectTimeout: -1 }, { connectTimeout: null }],
    min: [{ backoff: { min: '1' } }],
    max: [{ backoff: { max: NaN } }],
    maxBytes: [{ outbox: { maxBytes: 'much' } }],
    getToken: [{ getToken: '/api/token/' }, { getToken: {} }],
    WebSocket: [{ WebSocket: 'ws' }, { WebSocket: {} }],
  };
  for (const [name, all] of Object.entries(wrong)) {
    for (const options of all) assert.throws(make(options), { code: 'bad_request', message: new RegExp(`option ${name} `) });
  }
  for (const right of [undefined, null, {}, { backoff: null, outbox: null, WebSocket: null, getToken: undefined }, { connectTimeout: 0, backoff: { max: Infinity } }]) {
    make(right)().close();
  }
});

test('the groups of the core have no loops', () => {
  const [group, smaller] = [built, core].map(({ GroupcastClient }) => new GroupcastClient('wss://shop.test/ws').join('a'));
  const members = (object) => Reflect.ownKeys(Object.getPrototypeOf(object)).map(String);
  const added = members(group).filter((name) => !members(smaller).includes(name));
  assert.deepEqual(added, ['once', 'messages', 'Symbol(Symbol.asyncIterator)']);
});

test('the built file exports what the types promise', () => {
  const types = read('../dist/groupcast.d.ts');
  const promised = [...types.matchAll(/^export (?:declare )?class (\w+)/gm)].map(([, name]) => name);
  for (const file of [built, development, core]) assert.deepEqual(Object.keys(file).sort(), promised.sort());
});

test('the version is the same everywhere, and there are no dependencies', () => {
  assert.equal(CLIENT, `groupcast-js/${version}`);
  assert.ok(read('../dist/groupcast.js').startsWith(`// Groupcast client ${version},`));
  assert.equal(dependencies, undefined);
});

test('the lockfile names no registry host', () => {
  const { packages } = JSON.parse(read('../package-lock.json'));
  assert.deepEqual(Object.values(packages).filter(({ resolved }) => resolved), []);
});

test('source files stay short', () => {
  for (const name of readdirSync(new URL('../src', import.meta.url))) {
    assert.ok(read(`../src/${name}`).split('\n').length <= 351, name);
  }
});

test('the close codes agree with the specification', () => {
  const rows = [...norm.matchAll(/^\| (4\d{3}) \| [^|]+ \| (yes|no) \|/gm)];
  assert.equal(rows.length, 12);
  for (const [, code, comeBack] of rows) assert.equal(mayReturn(Number(code)), comeBack === 'yes', code);
  for (const code of norm.match(/\*\*44xx: .*\*\*/)[0].match(/\b1\d{3}\b/g)) assert.ok(mayReturn(Number(code)), code);
  assert.ok(norm.includes(`\`ping_ms\` and another ${PING_GRACE_MS / 1000} s`));
});
