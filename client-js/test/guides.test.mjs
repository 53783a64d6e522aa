// The guides: their code is code, runs where it can, and names nothing that does not exist.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import { declarations } from '../reference.mjs';

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url));
const CLIENT = fileURLToPath(new URL('..', import.meta.url));
const guides = readdirSync(DOCS).filter((name) => /^client.*\.md$/.test(name) && name !== 'client-reference.md');
const read = (name) => readFileSync(join(DOCS, name), 'utf8');
const blocks = (name) => [...read(name).matchAll(/^```(js|ts|html)\n([\s\S]*?)^```$/gm)].map(([, kind, text]) => ({ kind, text }));

/** The scripts of a page, with what a template fills in replaced by a word. */
const scripts = (html) => [...html.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)]
  .map(([, text]) => text.replace(/\{\{.*?\}\}|\{%.*?%\}/g, 'filled'));

test('there is a guide for each of what people ask', () => {
  for (const name of ['client.md', 'client-moving.md', 'client-tokens.md', 'client-tokens.es.md', 'client-django.md', 'client-django.es.md']) {
    assert.ok(guides.includes(name), name);
  }
  const headings = [...read('client.md').matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
  for (const heading of ['First page', 'Reconnection', 'Gaps', 'Node and servers', 'Testing']) assert.ok(headings.includes(heading), heading);
  for (const peer of ['your own reconnecting class', 'Socket.IO', 'Pusher and Laravel Echo', 'centrifuge-js']) {
    assert.match(read('client-moving.md'), new RegExp(`^## From ${peer}$`, 'm'));
  }
});

for (const name of guides) {
  test(`the code in ${name} is code`, async () => {
    const found = blocks(name);
    assert.ok(found.length > 0);
    for (const { kind, text } of found) {
      const sources = kind === 'html' ? scripts(text) : [text];
      for (const source of sources) await transform(source, { loader: kind === 'ts' ? 'ts' : 'js', format: 'esm' });
    }
  });

  test(`${name} calls nothing that clients and groups do not have`, () => {
    const types = declarations(readFileSync(join(CLIENT, 'dist/groupcast.d.ts'), 'utf8'));
    const names = (type) => types.get(type).members.map(({ signature }) => signature.match(/^(?:readonly )?\$?(\w+)/)[1]);
    const members = { client: names('GroupcastClient'), group: names('Group'), order: names('Group'), mine: names('Group') };
    const text = [...read(name).matchAll(/`{3}[\s\S]*?`{3}|`[^`\n]+`/g)].map(([code]) => code).join('\n');
    for (const [, object, member] of text.matchAll(/(?<![\w.-])(client|group|order|mine)\.([a-z]\w*)/g)) {
      if (member === 'md' || member === 'es') continue;
      assert.ok(members[object].includes(member), `${object}.${member}`);
    }
  });
}

test('the example of a test runs as it is', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'groupcast-guide-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(CLIENT, join(folder, 'node_modules/groupcast'));
  const example = blocks('client.md').find(({ text }) => text.includes("from 'node:test'"));
  writeFileSync(join(folder, 'example.test.mjs'), example.text);
  const env = { ...process.env };
  delete env.NODE_TEST_CONTEXT;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--test', 'example.test.mjs'], { cwd: folder, env, encoding: 'utf8', timeout: 30_000 });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /pass 1\b/);
});
