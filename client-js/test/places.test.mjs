// A model of a gateway with few places, components that come and go, and chance: in the end the groups
// that somebody holds have the places. A seed repeats a run: `SEED=7 node --test test/places.test.mjs`.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { chance } from './support/chance.mjs';
import { WELCOME, settle, start } from './support/gateway.mjs';

const PLACES = 5;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'forbidden_k', 'forbidden_l'];
const error = (code, retry = false) => ({ error: { code, message: code, retry } });

/** The gateway's side of the connections, one after the other. */
class Gateway {
  held = new Set();
  /** Whether some joins are refused for now. */
  busy = true;
  #socket = null;
  #served = 0;

  constructor(world, random) {
    Object.assign(this, { world, random });
  }

  /** Takes a new connection, and answers what came on it, in order. */
  serve(frames = Infinity) {
    const { socket } = this.world;
    if (!socket || socket.readyState > 1) return;
    if (socket.readyState === 0) {
      this.held.clear();
      this.#socket = socket;
      this.#served = 1;
      socket.open();
      socket.say({ ...WELCOME, ping_ms: 3_600_000 });
    }
    for (let n = 0; n < frames && this.#served < socket.sent.length; n += 1) {
      this.#answer(socket.sent[this.#served]);
      this.#served += 1;
    }
  }

  #answer({ type, id, groups }) {
    if (type === 'leave') {
      for (const { group } of groups) this.held.delete(group);
      this.#socket.say({ type: 'left', id, groups: groups.map(({ group }) => ({ group })) });
    } else if (type === 'join') {
      this.#socket.say({ type: 'joined', id, groups: groups.map(({ group }) => ({ group, ...this.#standing(group) })) });
    }
  }

  #standing(group) {
    if (group.startsWith('forbidden')) return error('forbidden');
    if (this.busy && this.random() < 0.1) return error('unavailable', true);
    if (!this.held.has(group) && this.held.size >= PLACES) return error('too_many_groups');
    this.held.add(group);
    return {};
  }

  /** The back end takes somebody out. */
  remove(group) {
    if (this.#socket?.readyState !== 1 || !this.held.delete(group)) return;
    this.#socket.say({ type: 'left', groups: [{ group }], reason: 'api' });
  }

  cut() {
    this.#socket?.lose(1006);
    this.held.clear();
  }
}

async function run(t, seed) {
  const random = chance(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const world = start(t, { random, warnings: false, backoff: { max: 1000 } });
  const gateway = new Gateway(world, random);
  const handles = [];
  const unsettled = new Set();
  const steps = {
    join() {
      // About as many as there are places.
      if (handles.length > 9) return;
      const handle = world.client.join(pick(NAMES));
      handles.push(handle);
      const { ready } = handle;
      unsettled.add(ready);
      ready.catch(() => {}).finally(() => unsettled.delete(ready));
    },
    leave() {
      if (handles.length > 0) handles.splice(Math.floor(random() * handles.length), 1)[0].leave();
    },
    remove: () => gateway.remove(pick(NAMES)),
    cut: () => gateway.cut(),
    time: () => world.tick(Math.floor(random() * 400)),
    serve: () => gateway.serve(1 + Math.floor(random() * 3)),
  };
  const likely = ['join', 'join', 'join', 'leave', 'leave', 'leave', 'time', 'serve', 'serve', 'serve', 'remove', 'cut'];
  for (let n = 0; n < 400; n += 1) {
    // In the end no new connection comes to mend what went wrong.
    await steps[n < 200 ? pick(likely) : pick(likely.slice(0, -1))]();
    if (random() < 0.7) await settle();
  }
  gateway.busy = false;
  for (let n = 0; n < 60; n += 1) {
    await world.tick(500);
    gateway.serve();
    await settle();
  }
  return { world, gateway, handles, unsettled };
}

function judge({ world, gateway, handles, unsettled }) {
  assert.equal(unsettled.size, 0, 'every ready has settled');
  const byName = Map.groupBy ? Map.groupBy(handles, ({ name }) => name) : new Map(NAMES
    .map((name) => [name, handles.filter((handle) => handle.name === name)]).filter(([, list]) => list.length > 0));
  const joined = [];
  const parked = [];
  for (const [name, list] of byName) {
    const [{ state, error: why }] = list;
    assert.ok(list.every((handle) => handle.state === state), `all handles of ${name} agree`);
    if (name.startsWith('forbidden')) assert.equal(why?.code, 'forbidden', name);
    else if (state === 'joined') joined.push(name);
    else if (why?.code === 'too_many_groups') parked.push(name);
    else assert.equal(why?.code, 'left', `${name} is ${state}`);
  }
  assert.deepEqual([...gateway.held].sort(), joined.sort(), 'both sides agree');
  if (parked.length > 0) assert.equal(joined.length, PLACES, `places are free, and these want one: ${parked}`);
  assert.deepEqual([...world.client.groups.keys()].sort(), [...byName.keys()].sort());
  return parked.length;
}

describe('places', () => {
  const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 60 }, (_, n) => n + 1);
  let short = 0;
  for (const seed of seeds) {
    test(`seed ${seed}`, async (t) => {
      if (judge(await run(t, seed)) > 0) short += 1;
    });
  }
  test('places were short in some runs', { skip: seeds.length < 60 }, () => assert.ok(short > 5, `${short}`));
});
