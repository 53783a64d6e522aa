// Runs the cases in whatever Node this is: `node node.mjs <file of the client> <gateway's url> <its API>`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import WebSocket from 'ws';
import { token } from '../support/served.mjs';
import { until } from '../support/until.mjs';
import { cases } from './cases.mjs';

const { CONTRACT_URL: url, CONTRACT_API: api, CONTRACT_CLIENT: file } = process.env;
const groupcast = await import(file);
// From Node 22 on there is one.
const RawWebSocket = globalThis.WebSocket ?? WebSocket;

async function publish(group, event) {
  const response = await fetch(`${api}/groups/${group}/send`, {
    method: 'POST',
    headers: { Authorization: 'Bearer a-secret-of-the-back-end', 'Content-Type': 'application/json' },
    body: JSON.stringify(event),
  });
  assert.equal(response.status, 202, await response.clone().text());
  return response.json();
}

const env = {
  groupcast,
  url,
  options: globalThis.WebSocket ? {} : { WebSocket },
  token,
  publish,
  until,
  equal: assert.deepEqual,
  rejects: (run, code) => assert.rejects(async () => run(), { code }),
  RawWebSocket,
};

describe(`Node ${process.versions.node}`, { concurrency: true }, () => {
  for (const [name, run] of Object.entries(cases)) test(name, { timeout: 60_000 }, () => run(env));
});
