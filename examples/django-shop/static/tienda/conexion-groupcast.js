// The page's connection by the Groupcast client: it comes back by itself, asks for what it missed and
// says so when something is lost. The session's cookie tells who this is.

import { GroupcastClient } from '/client/v1/groupcast.js';
import { use } from '/client/v1/progress.js';

export function conectar({ usuario, recibir, recargar, estado, cerrada }) {
  const cliente = new GroupcastClient('/ws/notificaciones/');
  cliente.on('state', ({ state }) => estado(state));
  cliente.on('closed', cerrada);
  cliente.on('event', ({ data, group }) => recibir(data, group));
  for (const nombre of [`notificaciones_usuario_${usuario}`, `usuario_${usuario}`, 'tienda']) {
    const grupo = cliente.join(nombre);
    grupo.on('$joined', ({ recovered }) => recovered || recargar());
    grupo.on('$gap', recargar);
  }
  use(cliente); // the bars of photos share the page's connection
  cliente.connect().catch(() => {});
  return { llamar: (nombre, datos) => cliente.call(nombre, datos, { key: crypto.randomUUID?.() }) };
}
