import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { OUTPUT, SERVED, contents } from '../build.mjs';
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

test('the client stays small over the wire', () => {
  const size = gzipSync(readFileSync(OUTPUT), { level: 9 }).length;
  assert.ok(size <= 10_070, `${size} bytes`);
});

test('the built file exports what the types promise', () => {
  const types = read('../dist/groupcast.d.ts');
  const promised = [...types.matchAll(/^export (?:declare )?class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(built).sort(), promised.sort());
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
