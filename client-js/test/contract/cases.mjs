// What holds between the client and a real gateway, wherever the client runs. Each case gets an
// environment: `{ groupcast, url, options, token, publish, until, equal, rejects, RawWebSocket }`.

// Several processes run the cases at the same time.
const mine = Math.random().toString(36).slice(2);
let numbered = 0;
const fresh = (kind) => `${kind}_${mine}_${(numbered += 1)}`;

function open({ groupcast, url, options, token }, more = {}) {
  return new groupcast.GroupcastClient(url, { ...options, getToken: () => token('7'), ...more });
}

/** Runs with a client that is closed afterwards. */
const using = (more, run) => async (env) => {
  const client = open(env, more);
  try {
    await run(client, env);
  } finally {
    client.close();
  }
};

export const cases = {
  'joins, publishes and receives': using({}, async (client, { equal }) => {
    const group = client.join(fresh('sala'));
    await group.ready;
    const next = group.once('saludo');
    const { id } = await group.send({ type: 'saludo', texto: 'hola' });
    const message = await next;
    equal([message.id, message.data.texto, message.group], [id, 'hola', group.name]);
  }),

  'holds what the server joins, and hears what is published there': using({}, async (client, { equal, publish }) => {
    await client.connect();
    equal([...client.groups.keys()], ['usuario_7']);
    const next = client.groups.get('usuario_7').once('aviso');
    await publish('usuario_7', { type: 'aviso', n: 1 });
    equal((await next).data.n, 1);
  }),

  'goes on from a position, exactly, with listeners added after ready': using({}, async (client, { equal, publish, until }) => {
    const name = fresh('historia');
    const first = await publish(name, { type: 'n', n: 1 });
    for (let n = 2; n <= 101; n += 1) await publish(name, { type: 'n', n });
    const group = client.join(name, { since: { epoch: first.epoch, offset: first.offset } });
    await group.ready;
    const seen = [];
    group.on('n', ({ n }, { recovered }) => seen.push([n, recovered]));
    await until(() => seen.length >= 100, 'the replay');
    equal(seen.map(([n]) => n), Array.from({ length: 100 }, (_, n) => n + 2));
    equal(seen.every(([, recovered]) => recovered), true);
  }),

  'reports what a position in a group already joined misses': using({}, async (client, { equal, publish }) => {
    const name = fresh('historia');
    const first = await publish(name, { type: 'n', n: 1 });
    await publish(name, { type: 'n', n: 2 });
    await client.join(name).ready;
    const late = client.join(name, { since: first });
    const gap = late.once('$gap');
    await late.ready;
    const { from, to, lost } = await gap;
    equal([from, to, lost], [2, 2, 1]);
  }),

  'reports a gap for a position of another epoch': using({}, async (client, { equal }) => {
    const gap = client.join(fresh('historia'), { since: { epoch: '0.0', offset: 9 } }).once('$gap');
    equal((await gap).possible, true);
  }),

  'a bad join harms no other': using({}, async (client, { equal, rejects }) => {
    const good = client.join(fresh('sala'));
    for (const name of [undefined, null, {}, 'sin espacio']) {
      await rejects(async () => client.join(name), 'illegal_name');
    }
    const forbidden = client.join('prohibido');
    await rejects(() => forbidden.ready, 'forbidden');
    equal((await good.ready).state, 'joined');
  }),

  'a bad entry by hand is refused alone': async ({ url, token, equal, RawWebSocket }) => {
    const good = await token('7');
    const socket = new RawWebSocket(url, 'groupcast.v1.json');
    const answer = new Promise((resolve, reject) => {
      socket.onclose = ({ code }) => reject(new Error(`closed ${code}`));
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type === 'welcome') {
          socket.send('{"type":"join","id":1,"groups":[null,{"group":"sala_1","since":5},"sala_2"]}');
          socket.send('{"type":"send","id":2,"group":"sala_2","data":{"type":"$gap"}}');
        }
        if (frame.id === 1) equal(frame.groups.map(({ error }) => error?.code ?? 'joined'), ['bad_request', 'bad_request', 'joined']);
        if (frame.id === 2) resolve(frame.code);
      };
    });
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', token: good, since: { usuario_7: 5 } }));
    equal(await answer, 'invalid_event');
    socket.close();
  },

  'a handle left twice takes nobody along': using({}, async (client, { equal, publish }) => {
    const name = fresh('sala');
    const [first, second] = [client.join(name), client.join(name)];
    await second.ready;
    first.leave();
    first.leave();
    await new Promise((resolve) => setTimeout(resolve, 400));
    const next = second.once('n');
    await publish(name, { type: 'n', n: 1 });
    equal((await next).data.n, 1);
  }),

  'a hundred groups are exchanged in one turn at the limit': using({}, async (client, { equal }) => {
    const old = Array.from({ length: 100 }, () => client.join(fresh('sala')));
    await Promise.all(old.map(({ ready }) => ready));
    for (const group of old) group.leave();
    const young = Array.from({ length: 100 }, () => client.join(fresh('sala')));
    await Promise.all(young.map(({ ready }) => ready));
    equal(client.groups.size, 101);
  }),

  'a group that found no place is joined once one is free': using({ warnings: false }, async (client, { rejects, until }) => {
    const held = Array.from({ length: 127 }, () => client.join(fresh('sala')));
    await Promise.all(held.map(({ ready }) => ready));
    const late = client.join(fresh('sala'));
    await rejects(() => late.ready, 'too_many_groups');
    held[0].leave();
    await until(() => late.state === 'joined', 'the place');
  }),

  'four hundred requests at once do not end the connection': using({ timeout: 60_000 }, async (client, { equal }) => {
    const closed = [];
    client.on('waiting', (waiting) => closed.push(waiting));
    const name = fresh('sala');
    const sends = Array.from({ length: 400 }, (_, n) => client.send(name, { type: 'n', n }));
    await Promise.all(sends);
    equal(closed, []);
  }),

  'a token that lives ten seconds is fetched by its life, not all the time': async (env) => {
    let fetched = 0;
    const client = open(env, { getToken: () => ((fetched += 1), env.token('7', 10)) });
    try {
      await client.connect();
      await new Promise((resolve) => setTimeout(resolve, 18_000));
      await env.until(() => client.state === 'connected', 'a connection');
      env.equal(fetched >= 2 && fetched <= 5, true);
    } finally {
      client.close();
    }
  },

  'reconnect makes sure of a connection that lives, and keeps it': using({}, async (client, { equal }) => {
    await client.connect();
    const { id } = client;
    client.reconnect();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    equal([client.state, client.id], ['connected', id]);
  }),

  'after 4401 a good token brings everything back': using({ getToken: undefined, token: 'a.b.c', warnings: false }, async (client, { equal, token, until }) => {
    const group = client.join(fresh('sala'));
    client.connect();
    await until(() => client.state === 'closed', 'the refusal');
    equal(client.groups.get(group.name).error.code, 'unauthorized');
    client.setToken(await token('7'));
    await client.join(fresh('sala')).ready;
    await group.ready;
  }),

  'what is too large fails alone': using({}, async (client, { equal, rejects }) => {
    await client.connect();
    const name = fresh('sala');
    await rejects(() => client.send(name, { type: 'n', text: 'x'.repeat(20_000) }), 'too_large');
    await client.send(name, { type: 'n' });
    equal(client.state, 'connected');
  }),

  'a loop gets what is published, in order': using({}, async (client, { equal, publish }) => {
    const group = client.join(fresh('historia'));
    await group.ready;
    const messages = group.messages();
    for (let n = 0; n < 20; n += 1) await publish(group.name, { type: 'n', n });
    const seen = [];
    for await (const { data } of messages) {
      seen.push(data.n);
      if (seen.length === 20) break;
    }
    equal(seen, Array.from({ length: 20 }, (_, n) => n));
  }),
};
