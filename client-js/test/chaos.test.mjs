// A model of a gateway with history, a client, and chance: whatever happens, each group's events arrive
// in order, none twice, and every gap is reported. A seed repeats a run: `SEED=7 node --test test/chaos.test.mjs`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chance } from './support/chance.mjs';
import { WELCOME, settle, start } from './support/gateway.mjs';

/** Keeps the last few events of each group, as a gateway would. */
class History {
  static KEPT = 8;
  epoch = 1;
  offset = 0;
  #kept = [];

  publish() {
    this.offset += 1;
    this.#kept.push(this.offset);
    if (this.#kept.length > History.KEPT) this.#kept.shift();
    return this.offset;
  }

  restart() {
    this.epoch += 1;
    this.offset = 0;
    this.#kept = [];
  }

  /** The standing of a join, and what is replayed after it. */
  join(since) {
    const position = { epoch: `1.${this.epoch}`, offset: this.offset };
    if (!since) return { position, replay: [] };
    const missed = since.epoch === position.epoch ? this.offset - since.offset : Infinity;
    const recovered = missed <= this.#kept.length;
    return { position: { ...position, recovered }, replay: recovered && missed ? this.#kept.slice(-missed) : [] };
  }
}

/** What one group's listeners received, checked as it comes. */
class Witness {
  #last;
  delivered = 0;
  gaps = 0;

  constructor(group) {
    group.on('$joined', ({ position }) => { this.#last ??= position; });
    group.on('$gap', () => {
      this.#last = undefined;
      this.gaps += 1;
    });
    group.on('e', (_, { position }) => this.#see(position));
  }

  #see({ epoch, offset }) {
    this.delivered += 1;
    if (this.#last) {
      assert.equal(epoch, this.#last.epoch, 'a new epoch is announced before its events');
      assert.equal(offset, this.#last.offset + 1, `after ${this.#last.offset}`);
    }
    this.#last = { epoch, offset };
  }
}

async function run(t, seed) {
  const random = chance(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const world = start(t, { random });
  const names = ['a', 'b', 'c'];
  const histories = new Map(names.map((name) => [name, new History()]));
  const witnesses = names.map((name) => new Witness(world.client.join(name)));
  const joined = new Set();
  let served = null;

  /** Opens and welcomes a socket that waits for it, and answers the joins that came. */
  const serve = () => {
    const { socket } = world;
    if (!socket || socket.readyState > 1) return;
    if (socket.readyState === 0) {
      joined.clear();
      socket.open();
      socket.say({ ...WELCOME, ping_ms: 60_000 });
      served = socket;
      served.answered = 0;
    }
    const joins = served.frames('join');
    for (const { id, groups } of joins.slice(served.answered)) answer(id, groups);
    served.answered = joins.length;
  };
  const answer = (id, groups) => {
    const standings = groups.map(({ group, since }) => ({ group, ...histories.get(group).join(since) }));
    served.say({ type: 'joined', id, groups: standings.map(({ group, position }) => ({ group, ...position })) });
    for (const { group, replay } of standings) {
      joined.add(group);
      for (const offset of replay) event(group, offset);
    }
  };
  const event = (group, offset) => served?.say({ type: 'event', group, offset, data: { type: 'e' } });
  const steps = {
    publish() {
      const group = pick(names);
      const offset = histories.get(group).publish();
      if (!joined.has(group) || served?.readyState !== 1) return;
      const fate = random();
      if (fate < 0.9) event(group, offset);
      if (fate > 0.85 && fate < 0.9) event(group, offset);
      const epoch = `1.${histories.get(group).epoch}`;
      if (fate > 0.95) served.say({ type: 'gap', group, reason: 'slow', epoch, from: offset, to: offset, lost: 1 });
    },
    lose() {
      joined.clear();
      served?.lose(pick([1001, 1006, 1012, 4503, 4508]));
      served = null;
    },
    restart() {
      steps.lose();
      histories.get(pick(names)).restart();
    },
    silence: () => world.tick(80_000),
    time: () => world.tick(Math.floor(random() * 8000)),
    serve,
  };
  const likely = ['publish', 'publish', 'publish', 'publish', 'publish', 'serve', 'serve', 'time', 'lose', 'restart', 'silence'];
  for (let n = 0; n < 600; n += 1) {
    const step = n % 60 > 50 ? 'serve' : pick(likely);
    await steps[step]();
    await settle();
  }
  // An end on which both sides must agree.
  const agreed = () => world.client.state === 'connected' && names.every((name) => joined.has(name));
  for (let n = 0; n < 10 && !agreed(); n += 1) {
    await world.tick(21_000);
    serve();
    await settle();
    serve();
  }
  for (const name of names) event(name, histories.get(name).publish());
  for (const name of names) {
    const { position } = world.client.groups.get(name);
    assert.deepEqual(position, { epoch: `1.${histories.get(name).epoch}`, offset: histories.get(name).offset });
  }
  assert.ok(world.sockets.filter(({ readyState }) => readyState === 1).length <= 1, 'one connection at a time');
  return witnesses;
}

describe('chance', () => {
  const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 20 }, (_, n) => n + 1);
  for (const seed of seeds) {
    test(`seed ${seed}`, async (t) => {
      const witnesses = await run(t, seed);
      const sum = (key) => witnesses.reduce((total, witness) => total + witness[key], 0);
      assert.ok(sum('delivered') > 20, `${sum('delivered')} events arrived`);
      assert.ok(sum('gaps') > 0, 'the run was wild enough to lose something');
    });
  }
});
