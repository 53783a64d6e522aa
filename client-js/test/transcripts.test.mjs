// Replays docs/transcripts on the client: the script's gateway is a real WebSocket server.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import WebSocket, { WebSocketServer } from 'ws';
import { GroupcastClient } from '../dist/groupcast.js';
import { assertFrame } from './support/schema.mjs';

const FOLDER = new URL('../../docs/transcripts/', import.meta.url);
const transcripts = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ file: name, ...JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) }));

let texts = 0;
const SAMPLES = {
  // Never twice the same: ids must differ.
  '<string>': () => `texto ${(texts += 1)}`,
  '<number>': () => 20_000,
  '<any>': () => null,
};

/** What a placeholder stands for when this side says it. */
function filled(value) {
  if (typeof value === 'string') return value in SAMPLES ? SAMPLES[value]() : value;
  if (Array.isArray(value)) return value.map(filled);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, filled(inner)]));
}

/** A script's expectation, once it has been seen to hold for `actual`. */
function assertMatches(expected, actual, at) {
  if (expected === '<string>') return assert.equal(typeof actual, 'string', at);
  if (expected === '<number>') return assert.equal(typeof actual, 'number', at);
  if (typeof expected === 'string' && expected.startsWith('<any')) return assert.notEqual(actual, undefined, at);
  if (expected === null || typeof expected !== 'object') return assert.equal(actual, expected, at);
  assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), at);
  for (const key of Object.keys(expected)) assertMatches(expected[key], actual[key], `${at}.${key}`);
}

/** The gateway's end: connections and frames as they come. */
class Server {
  #sockets = [];
  #frames = [];
  #waiting = [];

  async listen() {
    this.server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    this.server.on('connection', (socket) => {
      this.#push(this.#sockets, socket);
      socket.on('message', (data) => this.#push(this.#frames, JSON.parse(data)));
    });
    await once(this.server, 'listening');
    return `ws://127.0.0.1:${this.server.address().port}/ws`;
  }

  async connection() {
    this.socket = await this.#next(this.#sockets);
    assert.equal(this.socket.protocol, 'groupcast.v1.json');
  }

  frame() {
    return this.#next(this.#frames);
  }

  close() {
    for (const client of this.server.clients) client.terminate();
    this.server.close();
  }

  #push(list, item) {
    list.push(item);
    for (const resume of this.#waiting.splice(0)) resume();
  }

  async #next(list) {
    while (list.length === 0) await new Promise((resume) => this.#waiting.push(resume));
    return list.shift();
  }
}

function optionsFor(steps) {
  const tokens = steps.filter(({ frame }) => frame?.type === 'hello').map(({ frame }) => frame.token);
  const options = { WebSocket, backoff: { min: 1, base: 1 } };
  if (!steps.some(({ reconnect }) => reconnect)) return { ...options, token: tokens[0] };
  return { ...options, getToken: () => tokens.shift() };
}

/** Makes the library do what leads to a frame of the script. */
function act(client, frame) {
  switch (frame.type) {
    case 'hello': return void client.connect().catch(() => {});
    case 'join':
      for (const { group } of frame.groups) if (!client.groups.has(group)) client.join(group);
      return undefined;
    case 'leave': return frame.groups.forEach(({ group }) => client.leave(group));
    case 'send': return client.send(frame.group, frame.data, { echo: frame.echo, key: frame.key });
    case 'call': return client.call(frame.name, frame.data, { key: frame.key });
    case 'auth': return client.setToken(frame.token);
  }
  throw new Error(`no way to make the client say ${frame.type}`);
}

async function replay(t, { steps }) {
  const server = new Server();
  const url = await server.listen();
  t.after(() => server.close());
  const client = new GroupcastClient(url, optionsFor(steps));
  t.after(() => client.close());
  const events = [];
  client.on('event', ({ group, data }) => events.push({ group, data }));
  const closed = new Promise((resolve) => client.on('closed', resolve));
  const ids = new Map();
  const answers = new Map();
  let connected = false;

  for (const [index, step] of steps.entries()) {
    if (step.reconnect) connected = false;
    if (step.close) {
      server.socket.close(step.close, '{"reason":"as written"}');
      const final = step.close < 4500 && !steps[index + 1]?.reconnect;
      if (final) assert.equal((await closed).code, step.close);
    } else if (step.from === 'client') {
      const answer = act(client, step.frame);
      if (!connected) await server.connection();
      connected = true;
      const { id, ...frame } = await server.frame();
      const { id: written, ...expected } = step.frame;
      assertMatches(expected, frame, `step ${index}`);
      assert.equal(id === undefined, written === undefined);
      ids.set(written, id);
      if (answer) answers.set(written, assertAnswer(answer, steps, written));
    } else if (step.from === 'server') {
      const frame = filled(step.frame);
      assertFrame(frame);
      if (ids.has(frame.id)) frame.id = ids.get(frame.id);
      server.socket.send(JSON.stringify(frame));
      if (frame.type === 'welcome') await reaches(client, 'connected');
      await answers.get(step.frame.id);
    }
  }
  const expected = steps.filter(({ frame }) => frame?.type === 'event').map(({ frame }) => frame);
  while (events.length < expected.length) {
    await new Promise((resolve) => client.on('event', resolve, { once: true }));
  }
  assert.deepEqual(events, expected.map(({ group, data }) => ({ group, data })));
}

async function reaches(client, state) {
  while (client.state !== state) {
    await new Promise((resolve) => client.on('state', resolve, { once: true }));
  }
}

/** The library must hand over the answer that the script gives. */
async function assertAnswer(promise, steps, id) {
  const { frame } = steps.find(({ from, frame: { id: other } = {} }) => from === 'server' && other === id);
  if (frame.type === 'result') return assertMatches(frame.data, await promise, 'answer');
  return assert.rejects(promise, { code: frame.code, retry: frame.retry });
}

test('transcripts are well-formed', () => {
  assert.ok(transcripts.length > 15);
  const kinds = ['from', 'publish', 'close', 'reconnect'];
  for (const { file, name, about, protocol, replay: sides, steps } of transcripts) {
    assert.equal(file, `${name}.json`);
    assert.ok(about.endsWith('.'), file);
    assert.ok(['groupcast.v1.json', 'plain'].includes(protocol), file);
    assert.ok(sides.length > 0 && sides.every((side) => ['server', 'client'].includes(side)), file);
    for (const step of steps) {
      assert.equal(kinds.filter((kind) => kind in step).length, 1, `${file}: ${JSON.stringify(step)}`);
      if (step.from === 'server' && protocol !== 'plain') assertFrame(filled(step.frame));
    }
  }
});

describe('transcripts hold for the built client', () => {
  for (const transcript of transcripts.filter(({ replay: sides }) => sides.includes('client'))) {
    test(transcript.name, { timeout: 5000 }, (t) => replay(t, transcript));
  }
});
