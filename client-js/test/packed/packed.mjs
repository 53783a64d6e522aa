// The packed client, as npm would install it, in everything that loads it: `npm run test:packed`.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { build } from 'esbuild';
import { CLIENT, project, tool } from './project.mjs';
import { documented, measured } from './sizes.mjs';

const NODE_22 = tool(`node-${process.platform}-${process.arch}/bin/node`);

// Connects to a WebSocket server of its own, joins, and gets an event.
const PROGRAM = `
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
server.on('connection', (socket) => socket.on('message', (text) => {
  const { type, id } = JSON.parse(text);
  const say = (frame) => socket.send(JSON.stringify(frame));
  if (type === 'hello') say({ type: 'welcome', connection: 'c', instance: 'i', ping_ms: 9000, max_bytes: 9000, retry_ms: 1, groups: [] });
  if (type !== 'join') return;
  say({ type: 'joined', id, groups: [{ group: 'a' }] });
  say({ type: 'event', group: 'a', id: '1', data: { type: 'saludo' } });
}));
server.on('listening', async () => {
  const { GroupcastClient, GroupcastError, UnauthorizedError } = groupcast;
  const client = new GroupcastClient('ws://127.0.0.1:' + server.address().port, { WebSocket: globalThis.WebSocket ?? WebSocket });
  const group = client.join('a');
  await group.ready;
  for await (const { event } of group) {
    console.log(event, new UnauthorizedError() instanceof GroupcastError);
    break;
  }
  client.close();
  server.close();
});
`;
// The same without a loop.
const CORE_PROGRAM = PROGRAM.replace(/  await group\.ready;[\s\S]*?break;\n  }\n/, `
  const event = await new Promise((resolve) => group.on('*', (message) => resolve(message.event)));
  console.log(event, new UnauthorizedError() instanceof GroupcastError && !group.once && !group[Symbol.asyncIterator]);
`);
const JEST = `
test('Jest loads the client', () => {
  const { GroupcastClient } = require('groupcast');
  const client = new GroupcastClient('ws://127.0.0.1:9/', { WebSocket: class { close() {} } });
  const group = client.join('a');
  expect(group.state).toBe('joining');
  expect(client.state).toBe('idle');
  client.close();
  expect(client.state).toBe('closed');
});
`;
const VUE = `
import { reactive, ref, shallowReactive } from '@vue/reactivity';
import { GroupcastClient } from 'groupcast';
for (const wrap of [reactive, shallowReactive, (value) => ref(value).value]) {
  const state = wrap({ client: new GroupcastClient('ws://127.0.0.1:9/', { WebSocket: class { close() {} } }) });
  const held = wrap({ group: state.client.join('a') });
  held.group.on('e', () => {});
  held.group.ready.catch(() => {});
  state.client.onmessage = () => {};
  if (state.client.groups.get('a').name !== 'a' || held.group.state !== 'joining') throw new Error('not held');
  held.group.leave();
  state.client.connect().catch(() => {});
  state.client.close();
  if (state.client.state !== 'closed') throw new Error(state.client.state);
}
console.log('done');
`;
const FILES = {
  'program.mjs': `import * as groupcast from 'groupcast';\nimport WebSocket, { WebSocketServer } from 'ws';\n${PROGRAM}`,
  'core.mjs': `import * as groupcast from 'groupcast/core';\nimport WebSocket, { WebSocketServer } from 'ws';\n${CORE_PROGRAM}`,
  'core.cjs': `const groupcast = require('groupcast/core');\nconst WebSocket = require('ws');\nconst { WebSocketServer } = WebSocket;\n${CORE_PROGRAM}`,
  'program.cjs': `const groupcast = require('groupcast');\nconst WebSocket = require('ws');\nconst { WebSocketServer } = WebSocket;\n${PROGRAM}`,
  'vue.mjs': VUE,
  'jest/client.test.js': JEST,
  'jest/jest.config.js': 'module.exports = { testEnvironment: "node" };',
  'unused/index.html': '<script type="module" src="./main.js"></script>',
  'unused/main.js': "import { GroupcastClient } from 'groupcast';\nwindow.made = new GroupcastClient('/ws');",
  'shaken.js': "import { GroupcastClient } from 'groupcast';\nconsole.log('nothing of it is used');",
};

let folder;
let remove;

before(() => {
  ({ folder, remove } = project(FILES));
  for (const name of ['usage', 'core']) {
    for (const suffix of ['ts', 'cts']) cpSync(join(CLIENT, `test/types/${name}.ts`), join(folder, `types/${name}.${suffix}`));
  }
});

after(() => remove?.());

const run = (node, args, cwd = folder) => spawnSync(node, args, { cwd, encoding: 'utf8', timeout: 60_000 });

for (const [name, node] of [['this Node', process.execPath], ['Node 22', NODE_22]]) {
  for (const program of ['program.mjs', 'program.cjs', 'core.mjs', 'core.cjs', 'vue.mjs']) {
    const missing = !existsSync(node) && `no ${node}`;
    test(`${name} runs ${program}`, { skip: missing }, () => {
      const { status, stdout, stderr } = run(node, [program]);
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^(saludo true|done)\n$/);
      assert.equal(stderr, '');
    });
  }
}

test('Jest loads it with its defaults', () => {
  const { status, stderr } = run(process.execPath, [tool('jest/bin/jest.js'), '--rootDir', '.', '--watchman=false'], join(folder, 'jest'));
  assert.equal(status, 0, stderr);
});

// A phrase of an error that only the development build has.
const SENTENCE = 'a group name is 1 to 99';

for (const [mode, environment] of [['production', {}], ['development', { NODE_ENV: 'development' }]]) {
  test(`Vite bundles the ${mode} build`, () => {
    const command = [tool('vite/bin/vite.js'), 'build', '--outDir', mode, '--mode', mode];
    const options = { cwd: join(folder, 'unused'), encoding: 'utf8', timeout: 60_000, env: { ...process.env, ...environment } };
    const { status, stderr, stdout } = spawnSync(process.execPath, command, options);
    assert.equal(status, 0, stdout + stderr);
    const assets = join(folder, 'unused', mode, 'assets');
    const text = readdirSync(assets).map((name) => readFileSync(join(assets, name), 'utf8')).join('');
    assert.match(text, /groupcast\.v1\.json/);
    assert.equal(text.includes(SENTENCE), mode === 'development');
  });
}

test('conditions choose the build: whole sentences in Node and in development, the smaller one elsewhere', async () => {
  for (const [options, sentences] of [
    [{}, false],
    [{ conditions: ['production'] }, false],
    [{ conditions: ['development'] }, true],
    [{ platform: 'node' }, true],
    [{ platform: 'node', conditions: ['production'] }, false],
  ]) {
    for (const name of ['groupcast', 'groupcast/core']) {
      const contents = `export { GroupcastClient } from '${name}';`;
      const { outputFiles } = await build({
        stdin: { contents, resolveDir: folder }, bundle: true, format: 'esm', write: false, ...options,
      });
      assert.equal(outputFiles[0].text.includes(SENTENCE), sentences, JSON.stringify([name, options]));
    }
  }
});

for (const format of ['esm', 'cjs']) {
  test(`Node runs a bundle of esbuild: ${format}`, async () => {
    const outfile = join(folder, `bundled.${format === 'esm' ? 'mjs' : 'cjs'}`);
    await build({ entryPoints: [join(folder, 'program.mjs')], bundle: true, platform: 'node', external: ['ws'], format, outfile });
    const { stdout, stderr } = run(process.execPath, [outfile]);
    assert.equal(stdout, 'saludo true\n', stderr);
  });
}

test('esbuild removes unused code', async () => {
  const bundled = async (entry) => {
    const { outputFiles } = await build({ entryPoints: [join(folder, entry)], bundle: true, format: 'esm', minify: true, write: false });
    return outputFiles[0].text;
  };
  assert.ok((await bundled('shaken.js')).length < 100);
  assert.match(await bundled('unused/main.js'), /groupcast\.v1\.json/);
});

describe('types hold for', () => {
  const compilers = { 'TypeScript 7': join(CLIENT, 'node_modules/typescript/bin/tsc'), 'TypeScript 5': tool('typescript5/bin/tsc') };
  const kinds = {
    node16: { module: 'node16' },
    nodenext: { module: 'nodenext' },
    bundlers: { module: 'esnext', moduleResolution: 'bundler' },
  };
  for (const [compiler, tsc] of Object.entries(compilers)) {
    for (const [kind, options] of Object.entries(kinds)) {
      test(`${compiler}, ${kind}, as a module and as CommonJS`, () => {
        const config = {
          compilerOptions: {
            strict: true, noEmit: true, target: 'es2022', lib: ['es2022', 'dom', 'esnext.disposable'],
            types: [], skipDefaultLibCheck: true, ...options,
          },
          files: ['usage.ts', 'usage.cts', 'core.ts', 'core.cts'],
        };
        writeFileSync(join(folder, 'types/tsconfig.json'), JSON.stringify(config));
        writeFileSync(join(folder, 'types/package.json'), '{"type": "module"}');
        const { status, stdout } = run(process.execPath, [tsc, '-p', 'types']);
        assert.equal(status, 0, stdout);
      });
    }
  }
});

test('the documented sizes, beside those of other libraries, are what is measured', async () => {
  const [page, now] = [documented(), await measured()];
  const text = readFileSync(join(CLIENT, '../docs/client.md'), 'utf8');
  for (const file of ['groupcast.core.js', 'groupcast.js']) {
    const told = Number(text.match(new RegExp(`\\x60${file.replaceAll('.', '\\.')}\\x60(?: has)? ([\\d,]+)`))[1].replace(',', ''));
    const served = readFileSync(join(CLIENT, `dist/${file}.gz`)).length;
    assert.ok(Math.abs(told / served - 1) < 0.005, `${file}: ${served}, not ${told}`);
  }
  assert.deepEqual(page.map(([name]) => name), now.map(([name]) => name));
  for (const [row, [name, sizes]] of now.entries()) {
    for (const [column, size] of sizes.entries()) {
      // Each version of zlib and of the tools has its own.
      assert.ok(Math.abs(page[row][1][column] / size - 1) < 0.005, `${name}: ${size}, not ${page[row][1][column]}`);
    }
  }
});

test('the package contains exactly the files that it names', () => {
  const at = (path) => join(folder, 'node_modules/groupcast', path);
  const { exports, main, module, types, unpkg } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
  const entries = ['.', './core'].flatMap((entry) => Object.values(exports[entry]));
  const named = [main, module, types, unpkg, ...entries.flatMap((conditions) => Object.values(conditions))];
  for (const path of named) assert.ok(existsSync(at(path)), path);
  assert.ok(!existsSync(at('test')) && !existsSync(at('src')));
});
