import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { current, declarations, page, written } from '../reference.mjs';

const types = readFileSync(new URL('../dist/groupcast.d.ts', import.meta.url), 'utf8');

test('the reference is made from the types as they are: run `npm run build` and commit it', () => {
  assert.equal(written(), current());
});

test('every member that an application can name is described', () => {
  const found = declarations(types);
  assert.ok(found.size >= 25, `${found.size} declarations`);
  for (const { name, members } of found.values()) {
    for (const { signature, meaning } of members) assert.notEqual(meaning, '', `${name}: ${signature}`);
  }
});

test('a type that has no place in the reference is noticed', () => {
  assert.throws(() => page(`${types}\nexport interface Added {\n  n: number;\n}\n`), /Added/);
});
