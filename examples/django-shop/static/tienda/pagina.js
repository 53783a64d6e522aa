// What both pages do: paint the state, paint what arrives, send what is clicked.

import { Avisos } from './avisos.js';
import { Catalogo } from './catalogo.js';
import { Fotos } from './fotos.js';
import { campana } from './sonido.js';
import { $, hora, nodo, pedir, pesos } from './pintar.js';

const CONEXIONES = {
  groupcast: ['./conexion-groupcast.js', {}],
  websocket: ['./conexion-websocket.js', {}],
  daphne: ['./conexion-websocket.js', { ruta: '/ws-antes/notificaciones/' }],
};
const ESTADOS = {
  idle: 'Sin conexión', connecting: 'Conectando…', connected: 'En vivo', waiting: 'Reconectando…', closed: 'Sesión cerrada',
};
const RECIBIDOS = 200;

const inicial = JSON.parse($('estado').textContent);
const llamar = (nombre, datos) => conexion.llamar(nombre, datos);
const catalogo = new Catalogo(({ nombre, precio }) => globo('Compra hecha', `${nombre} · ${pesos(precio)}`));
const avisos = new Avisos(llamar);
const fotos = new Fotos(llamar);

/** When the summary on the page was made. */
let resumido = 0;

function pintar(estado) {
  manejar.resumen(estado.resumen);
  catalogo.pintar(estado.productos);
  avisos.pintar(estado.notificaciones, estado.sin_leer);
  fotos.pintar(estado.fotos);
}

// By type of event. The bare WebSocket gets notificacion_nueva as nueva_venta: its route says so.
const manejar = {
  connection_established: ({ message }) => { $('saludo').textContent = message; },
  notificacion_nueva(venta) {
    if (!avisos.nueva(venta)) return;
    globo(venta.titulo, `${venta.mensaje} · ${pesos(venta.monto)}`);
    campana();
  },
  nueva_venta: (venta) => manejar.notificacion_nueva(venta),
  notificacion_leida: ({ ids, sin_leer }) => avisos.leidas(ids, sin_leer),
  existencias: ({ producto, quedan }) => catalogo.quedan(producto, quedan),
  resumen({ ventas, monto, timestamp }) {
    // A state that was loaded may be older than what arrived meanwhile.
    if (Date.parse(timestamp) < resumido) return;
    resumido = Date.parse(timestamp);
    $('resumen-ventas').textContent = ventas;
    $('resumen-monto').textContent = pesos(monto);
    $('resumen-hora').textContent = hora(new Date(timestamp));
  },
  imagen_progreso: (paso) => fotos.progreso(paso),
  async imagen_procesada({ imagen_id, url_thumbnail }) {
    fotos.lista(imagen_id, url_thumbnail);
    fotos.poner(await pedir(`/fotos/${imagen_id}/`));
  },
  imagen_fallida({ imagen_id, motivo }) {
    fotos.fallida(imagen_id, motivo);
    globo('La foto no se pudo procesar', motivo, 'mal');
  },
};

function recibir(evento, grupo = '') {
  anotar(evento, grupo);
  manejar[evento.type]?.(evento);
}

/** The list of what arrived, newest first, bounded. */
function anotar(evento, grupo) {
  const lista = $('eventos');
  const cuando = hora(new Date(), 'second');
  lista.prepend(nodo('li', { 'data-type': evento.type ?? '' },
    nodo('time', {}, cuando), nodo('b', {}, evento.type ?? 'respuesta'), nodo('span', {}, grupo), nodo('code', {}, JSON.stringify(evento))));
  while (lista.children.length > RECIBIDOS) lista.lastElementChild.remove();
  $('cuenta-eventos').textContent = Number($('cuenta-eventos').textContent) + 1;
}

function globo(titulo, texto, clase = '') {
  const uno = nodo('div', { class: `globo ${clase}` }, nodo('b', {}, titulo), nodo('p', {}, texto));
  $('globos').append(uno);
  while ($('globos').children.length > 4) $('globos').firstElementChild.remove();
  setTimeout(() => uno.remove(), 6000);
}

function mostrarEstado(estado) {
  $('conexion').dataset.estado = estado;
  $('conexion').lastElementChild.textContent = ESTADOS[estado];
}

// Whoever signs out here is on the way to the sign-in page already.
let saliendo = false;
$('salir').form.addEventListener('submit', () => { saliendo = true; });

/** Refused for good: the session ended in another tab. */
function cerrada({ code }) {
  mostrarEstado('closed');
  if (saliendo) return;
  $('conexion').title = `código ${code}`;
  location.assign('/entrar/?cerrada=1');
}

let cargando = false;
let otraVez = false;
/** Loads the state anew; whoever asks while that is under way gets one more load after it. */
async function recargar() {
  otraVez = cargando;
  if (cargando) return;
  cargando = true;
  try {
    pintar(await pedir('/estado/'));
  } catch {
    setTimeout(recargar, 2000);
  } finally {
    cargando = false;
    if (otraVez) recargar();
  }
}

$('tema').addEventListener('click', () => {
  const oscuro = matchMedia('(prefers-color-scheme: dark)').matches;
  const ahora = document.documentElement.dataset.tema ?? (oscuro ? 'oscuro' : 'claro');
  const tema = ahora === 'oscuro' ? 'claro' : 'oscuro';
  document.documentElement.dataset.tema = tema;
  localStorage.setItem('tema', tema);
});

pintar(inicial);
const [modulo, opciones] = CONEXIONES[$('panel').dataset.conexion];
const { conectar } = await import(modulo);
const conexion = conectar({ usuario: inicial.usuario, recibir, recargar, estado: mostrarEstado, cerrada, ...opciones });
