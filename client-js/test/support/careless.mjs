// A program that looks after nothing: `quiet.test.mjs` runs it.

import WebSocket, { WebSocketServer } from 'ws';
import { GroupcastClient } from './client.mjs';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
await new Promise((resolve) => server.on('listening', resolve));
server.on('connection', (socket) => socket.on('message', (text) => {
  const say = (frame) => socket.send(JSON.stringify(frame));
  const { type, id, groups } = JSON.parse(text);
  if (type === 'hello') {
    say({ type: 'welcome', connection: 'c', instance: 'i', ping_ms: 9000, max_bytes: 9000, retry_ms: 1, groups: [] });
  } else if (type === 'join') {
    say({ type: 'joined', id, groups: groups.map(({ group }) => ({ group })) });
    say({ type: 'event', group: 'a', id: '1', data: { type: 'e' } });
  } else if (type === 'send') {
    say({ type: 'error', id, code: 'forbidden', message: 'no', retry: false });
    setTimeout(() => socket.close(4403), 50);
  }
}));

const client = new GroupcastClient(`ws://127.0.0.1:${server.address().port}/`, { WebSocket });
client.connect();
client.onmessage = () => { throw new Error('thrown by onmessage'); };
const group = client.join('a');
group.on('e', () => { throw new Error('thrown by a listener'); });
group.on('e', async () => { throw new Error('rejected by a listener'); });
group.send({ type: 'e' });
client.on('closed', () => {
  group.ready;
  group.once('e');
  client.call('c');
  setTimeout(() => {
    console.log('still here');
    server.close();
  }, 50);
});
