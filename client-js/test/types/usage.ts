// Compiled, never run: what the types allow, and, marked, what they must not.

import { GroupcastClient, GroupcastError, UnauthorizedError } from 'groupcast';
import type { Gap, Message, Position } from 'groupcast';

// Without a schema every name and payload goes.
const loose = new GroupcastClient('/ws', {
  getToken: async ({ reason, signal }) => {
    if (reason === 'rejected') throw new UnauthorizedError();
    return (await fetch('/token', { signal })).text();
  },
});
loose.join('pedido.42').on('estado_cambiado', (data, message) => {
  const position: Position | undefined = message.position;
  return [data.estado, position?.offset];
});
loose.onmessage = ({ event, data }: Message) => console.log(event, data);
const remove: () => void = loose.on('waiting', ({ at, attempt }) => console.log(at.getTime(), attempt));
remove();
loose.on('closed', ({ code, error }) => error instanceof GroupcastError && code === 4401);
const position: Promise<{ readonly id: string }> = loose.send('sala_1', { type: 'saludo', texto: 'hola' });

// With one, names and payloads are checked.
interface Tienda {
  groups: {
    [usuario: `usuario_${number}`]: { imagen_procesada: { imagen_id: number; url: string } };
    [pedido: `pedido.${number}`]: { estado_cambiado: { estado: 'enviado' | 'entregado' } };
    avisos: { aviso: { texto: string } };
  };
  calls: { marcar_leida: { data: { id: number }; result: { sin_leer: number } } };
}
const tienda = new GroupcastClient<Tienda>('wss://tienda.example/ws');
const usuario = tienda.join('usuario_7', { since: { epoch: '1.1', offset: 3 } });
usuario.on('imagen_procesada', ({ url }, { recovered }) => [url.length, recovered]);
usuario.on('$gap', ({ reason, possible }: Gap) => [reason, possible]);
usuario.on('$joined', ({ recovered }) => recovered);
usuario.on('*', (message) => message.data.imagen_id, { once: true });
const sinLeer: Promise<number> = tienda.call('marcar_leida', { id: 3 }).then(({ sin_leer }) => sin_leer);
tienda.join('avisos').send({ type: 'aviso', texto: 'hola' }, { echo: false, key: 'k', timeout: 1000 });

async function loops(signal: AbortSignal) {
  for await (const message of usuario.messages({ buffer: 10, signal })) {
    if (message.event === '$gap') message.gap.reason;
    else message.data.url.length;
  }
  const { data } = await usuario.once('imagen_procesada', { signal, timeout: 1000 });
  const gap: Gap = await usuario.once('$gap');
  await tienda.call('marcar_leida', { id: 3 }, { signal });
  tienda.join('avisos', { signal, timeout: 1000 }).leave();
  return [data.url, gap.lost];
}
new GroupcastClient('/ws', { getToken: ({ signal }) => fetch('/token', { signal }), warnings: false });
new GroupcastClient('/ws', { getToken: () => ({ token: 't' }) });

// @ts-expect-error: no such group
tienda.join('usuaria_7');
// @ts-expect-error: no such event in this group
usuario.on('estado_cambiado', () => {});
// @ts-expect-error: no such member in this event
usuario.on('imagen_procesada', ({ titulo }) => titulo);
// @ts-expect-error: a wrong value
usuario.on('imagen_procesada', ({ url }) => url * 2);
// @ts-expect-error: no such call
tienda.call('marcar_leido', { id: 3 });
// @ts-expect-error: wrong data
tienda.call('marcar_leida', { id: '3' });
// @ts-expect-error: events have a type
loose.send('sala_1', { texto: 'hola' });
// @ts-expect-error: wrong event
tienda.join('avisos').send({ type: 'aviso', texto: 1 });
// @ts-expect-error: no such option
new GroupcastClient('/ws', { tocken: 'x' });
// @ts-expect-error: no such event in this group
usuario.once('estado_cambiado');
// @ts-expect-error: getToken gives a token
new GroupcastClient('/ws', { getToken: () => 7 });
// @ts-expect-error: no such client event
loose.on('connected', () => {});
// @ts-expect-error: states are read-only
loose.state = 'closed';

export { loops, position, sinLeer };
