// The contract with a real gateway, in this Node, in Node 22 and in Chromium.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Served, token } from '../support/served.mjs';
import { launch } from '../support/chromium.mjs';
import { cases } from './cases.mjs';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const NODE_22 = at(`../packed/node_modules/node-${process.platform}-${process.arch}/bin/node`);
let gateway;

before(async () => {
  gateway = await Served.start();
});
after(() => gateway?.end());

const NODES = [['this Node', process.execPath, '../../dist/groupcast.js'], ['this Node, as CommonJS', process.execPath, '../../dist/groupcast.cjs'],
  ['Node 22', NODE_22, '../../dist/groupcast.js']];
// At once: most of it is waiting.
describe('the contract holds in Node', { concurrency: NODES.length }, () => {
  for (const [name, node, file] of NODES) {
    test(name, { skip: !existsSync(node) && `no ${node}`, timeout: 120_000 }, () => run(node, at(file)));
  }
});

async function run(node, client) {
  const env = { ...process.env, CONTRACT_URL: gateway.url, CONTRACT_API: gateway.api, CONTRACT_CLIENT: client };
  delete env.NODE_TEST_CONTEXT;
  const child = spawn(node, ['--test-reporter=spec', at('node.mjs')], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { text += data; });
  const [status] = await once(child, 'exit');
  assert.equal(status, 0, text);
  assert.equal(text.match(/✔/g).length, Object.keys(cases).length + 1, text);
}

describe('the contract holds in Chromium', () => {
  let browser;
  let site;
  let page;

  before(async () => {
    const files = { '/groupcast.js': '../../dist/groupcast.js', '/cases.mjs': 'cases.mjs', '/until.mjs': '../support/until.mjs' };
    site = createServer(({ url }, response) => {
      response.setHeader('Content-Type', url in files ? 'text/javascript' : 'text/html');
      response.end(url in files ? readFileSync(at(files[url])) : '<!doctype html><title>contract</title>');
    }).listen(0, '127.0.0.1');
    await once(site, 'listening');
    browser = await launch();
    page = await browser.newPage();
    await page.exposeFunction('publish', (group, event) => gateway.publish(group, event));
    await page.exposeFunction('token', (...args) => token(...args));
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
  });
  after(async () => {
    await browser?.close();
    site?.close();
  });

  for (const name of Object.keys(cases)) {
    test(name, { timeout: 60_000 }, async () => {
      const failure = await page.evaluate(async ({ name: wanted, url }) => {
        const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
        const equal = (actual, expected) => {
          if (!same(actual, expected)) throw new Error(`${JSON.stringify(actual)} is not ${JSON.stringify(expected)}`);
        };
        const rejects = (run, code) => (async () => run())().then(
          () => { throw new Error(`not rejected: ${code}`); },
          (error) => equal(error.code, code),
        );
        try {
          const { until } = await import('/until.mjs');
          const { cases: all } = await import('/cases.mjs');
          const groupcast = await import('/groupcast.js');
          const { publish, token: sign } = window;
          await all[wanted]({ groupcast, url, options: {}, token: sign, publish, until, equal, rejects, RawWebSocket: WebSocket });
          return null;
        } catch (error) {
          return String(error?.stack ?? error);
        }
      }, { name, url: gateway.url });
      assert.equal(failure, null);
    });
  }
});
