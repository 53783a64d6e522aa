// The packed client in Chromium, as bundles, script tags and workers load it. Each joins a group of a
// WebSocket server here, and shows the event that it gets as the title of the page.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { build } from 'esbuild';
import { WebSocketServer } from 'ws';
import { launch } from '../support/chromium.mjs';
import { project, tool } from './project.mjs';

const LOOP = `
(async () => {
  const client = new GroupcastClient('ws://' + location.host + '/ws');
  for await (const { event } of client.join('a')) {
    tell(event);
    break;
  }
  client.close();
})();`;
const LISTENER = `
const client = new GroupcastClient('ws://' + location.host + '/ws');
client.join('a').on('*', ({ event }) => {
  tell(event);
  client.close();
});`;
const TITLE = 'const tell = (text) => { document.title = text; };';
const POST = 'const tell = (text) => postMessage(text);';
const html = (...scripts) => `<!doctype html><title>waits</title><body>${scripts.join('')}`;
const worker = (options) => html(
  `<script>new Worker('worker.js', ${options}).onmessage = ({ data }) => { document.title = data; };</script>`,
);

const FILES = {
  'loop.js': `import { GroupcastClient } from 'groupcast';\n${TITLE}${LOOP}`,
  'core.js': `import { GroupcastClient } from 'groupcast/core';\n${TITLE}${LISTENER}`,
  'posting.js': `import { GroupcastClient } from 'groupcast';\n${POST}${LOOP}`,
  'vite/index.html': html('<script type="module" src="./main.js"></script>'),
  'vite/main.js': `import { GroupcastClient } from 'groupcast';\n${TITLE}${LOOP}`,
  'bundles/module/index.html': html('<script type="module" src="loop.js"></script>'),
  'bundles/classic/index.html': html('<script src="loop.js"></script>'),
  'bundles/core/index.html': html('<script type="module" src="core.js"></script>'),
  'bundles/worker/index.html': worker("{ type: 'module' }"),
  'script/index.html': html('<script src="groupcast.global.js"></script>', `<script>const { GroupcastClient } = Groupcast;${TITLE}${LOOP}</script>`),
  'module/index.html': html(`<script type="module">import { GroupcastClient } from './groupcast.js';${TITLE}${LOOP}</script>`),
  'module-core/index.html': html(`<script type="module">import { GroupcastClient } from './groupcast.core.js';${TITLE}${LISTENER}</script>`),
  'module-worker/index.html': worker("{ type: 'module' }"),
  'module-worker/worker.js': `import { GroupcastClient } from './groupcast.js';${POST}${LOOP}`,
  'classic-worker/index.html': worker('{}'),
  'classic-worker/worker.js': `importScripts('groupcast.global.js'); const { GroupcastClient } = Groupcast;${POST}${LOOP}`,
};

let made;
let site;
let browser;

before(async () => {
  made = project(FILES);
  for (const [file, ...folders] of [
    ['groupcast.global.js', 'script', 'classic-worker'],
    ['groupcast.js', 'module', 'module-worker'],
    ['groupcast.core.js', 'module-core'],
  ]) {
    for (const folder of folders) cpSync(join(made.folder, 'node_modules/groupcast/dist', file), join(made.folder, folder, file));
  }
  site = createServer(({ url }, response) => {
    const path = url.endsWith('/') ? `${url}index.html` : url;
    if (path === '/favicon.ico') return response.writeHead(404).end();
    response.setHeader('Content-Type', path.endsWith('.js') ? 'text/javascript' : 'text/html');
    response.end(readFileSync(join(made.folder, path)));
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  new WebSocketServer({ server: site, path: '/ws' }).on('connection', (socket) => socket.on('message', (text) => {
    const { type, id } = JSON.parse(text);
    const say = (frame) => socket.send(JSON.stringify(frame));
    if (type === 'hello') say({ type: 'welcome', connection: 'c', instance: 'i', ping_ms: 9000, max_bytes: 9000, retry_ms: 1, groups: [] });
    if (type !== 'join') return;
    say({ type: 'joined', id, groups: [{ group: 'a' }] });
    say({ type: 'event', group: 'a', id: '1', data: { type: 'saludo' } });
  }));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.closeAllConnections();
  site?.close();
  made?.remove();
});

/** The page at `path` gets the event, and nothing in it goes wrong. */
async function greeted(path) {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && errors.push(message.text()));
  await page.goto(`http://127.0.0.1:${site.address().port}/${path}/`);
  await page.waitForFunction(() => document.title !== 'waits', undefined, { timeout: 15_000 }).catch(() => {});
  // The browser asks for an icon, too.
  assert.deepEqual([await page.title(), errors.filter((text) => !text.includes('404'))], ['saludo', []]);
  await page.close();
}

for (const [folder, entry, options] of [
  ['module', 'loop.js', { format: 'esm' }],
  ['classic', 'loop.js', { format: 'iife', minify: true }],
  ['core', 'core.js', { format: 'esm', minify: true, conditions: ['development'] }],
  ['worker', 'posting.js', { format: 'esm', minify: true }],
]) {
  test(`a bundle of esbuild runs: ${folder}`, async () => {
    const outfile = join(made.folder, 'bundles', folder, folder === 'worker' ? 'worker.js' : entry);
    await build({ entryPoints: [join(made.folder, entry)], bundle: true, outfile, ...options });
    await greeted(`bundles/${folder}`);
  });
}

for (const mode of ['production', 'development']) {
  test(`a bundle of Vite runs: ${mode}`, async () => {
    const command = [tool('vite/bin/vite.js'), 'build', '--base', './', '--outDir', mode, '--mode', mode];
    const env = { ...process.env, ...(mode === 'development' && { NODE_ENV: mode }) };
    const { status, stderr } = spawnSync(process.execPath, command, { cwd: join(made.folder, 'vite'), encoding: 'utf8', timeout: 60_000, env });
    assert.equal(status, 0, stderr);
    await greeted(`vite/${mode}`);
  });
}

for (const [folder, what] of Object.entries({
  script: 'a script tag',
  module: 'a module in a page',
  'module-core': 'the module without loops in a page',
  'module-worker': 'a module in a worker',
  'classic-worker': 'a script in a worker',
})) {
  test(`the packed file runs as ${what}`, () => greeted(folder));
}
