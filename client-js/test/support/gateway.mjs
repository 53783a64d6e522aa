// The gateway's side of a socket, under a clock that only tests move.

import { assertFrame } from './schema.mjs';
import { GroupcastClient } from './client.mjs';

/** Lets promises and microtasks run. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export const WELCOME = {
  type: 'welcome',
  connection: 'i-1',
  instance: 'i',
  ping_ms: 25_000,
  max_bytes: 16_384,
  retry_ms: 5000,
  groups: [],
};

class Socket {
  readyState = 0;
  sent = [];
  closedWith = undefined;

  constructor(url, protocol) {
    this.url = url;
    this.protocol = protocol;
  }

  send(text) {
    if (this.readyState !== 1) throw new Error('sent on a socket that is not open');
    const frame = JSON.parse(text);
    assertFrame(frame);
    this.sent.push(frame);
  }

  close(code) {
    this.closedWith = code ?? null;
    this.readyState = 2;
  }

  open() {
    this.readyState = 1;
    this.onopen?.({});
  }

  /** The gateway says something. */
  say(frame) {
    assertFrame(frame);
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The connection ends, as the browser tells it. */
  lose(code = 1006, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  frames(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

/** A client with fake sockets, `t.mock` timers and, unless said otherwise, the middle of all chances. */
export function start(t, { random = 0.5, ...options } = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 });
  // A busy machine must not add real time to the mocked one.
  t.mock.method(performance, 'now', () => Date.now());
  t.mock.method(Math, 'random', () => (typeof random === 'function' ? random() : random));
  const sockets = [];
  class WebSocket extends Socket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = new GroupcastClient('ws://gateway.test/ws', { WebSocket, ...options });
  t.after(() => client.close());
  const world = {
    client,
    sockets,
    get socket() {
      return sockets.at(-1);
    },
    async tick(ms) {
      t.mock.timers.tick(ms);
      await settle();
    },
    /** The next connection is made and welcomed. */
    async welcome(more = {}) {
      client.connect();
      await settle();
      world.socket.open();
      world.socket.say({ ...WELCOME, ...more });
      await settle();
      return world.socket;
    },
  };
  return world;
}

/** Collects what is emitted. */
export function record(target, ...events) {
  const seen = [];
  for (const event of events) target.on(event, (value) => seen.push([event, value]));
  return seen;
}

/** Answers the last join with the same standing for every group. */
export function joined(socket, standing = {}) {
  const { id, groups } = socket.frames('join').at(-1);
  socket.say({ type: 'joined', id, groups: groups.map(({ group }) => ({ group, ...standing })) });
}
