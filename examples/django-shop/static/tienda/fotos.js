// Photos: choosing, sending, the progress of each, and the picture once it is there.

import { $, dibujo, nodo, pedir } from './pintar.js';

// With Daphne alone nobody serves it, and the dots say how far a photo is.
const DAPHNE = $('panel').dataset.conexion === 'daphne';
if (!DAPHNE) import('/client/v1/progress.js');

const PASOS = ['miniatura 160', 'miniatura 480', 'miniatura 1280', 'metadatos', 'revisión'];

export class Fotos {
  #fotos = new Map();
  #semilla = 1;
  #llamar;

  /** `llamar(nombre, datos)`: the page's calls; the twin's have no answer. */
  constructor(llamar) {
    this.#llamar = llamar;
    $('archivo').addEventListener('change', ({ target }) => {
      for (const archivo of target.files) this.#subir(archivo, archivo.name);
      target.value = '';
    });
    const zona = $('soltar');
    zona.addEventListener('dragover', (suceso) => suceso.preventDefault());
    zona.addEventListener('drop', (suceso) => {
      suceso.preventDefault();
      for (const archivo of suceso.dataTransfer.files) this.#subir(archivo, archivo.name);
    });
    $('ejemplo').addEventListener('click', () => this.#ejemplo('paisaje'));
    $('ejemplo-falla').addEventListener('click', () => this.#ejemplo('falla'));
  }

  pintar(fotos) {
    for (const foto of [...fotos].reverse()) this.poner(foto);
  }

  /** As the site knows it. */
  poner({ id, nombre, estado, datos, motivo, url_thumbnail: url, barra, revision }) {
    const elemento = this.#elemento(id);
    if (barra && elemento.querySelector('.avance:not(:has(groupcast-progress))')) {
      elemento.querySelector('.avance').prepend(this.#barra(barra, `Avance de ${nombre}`));
      // Shows nothing: the states of the content check say when it is tried again.
      if (revision) elemento.querySelector('.avance').append(this.#barra(revision, 'revisión', { hidden: '' }));
    }
    elemento.querySelector('.nombre').textContent = nombre;
    if (estado === 'lista') this.lista(id, url);
    if (estado === 'fallida') this.fallida(id, motivo);
    const { ancho, alto, camara, iso } = datos;
    const partes = [ancho && `${ancho} × ${alto}`, camara, iso && `ISO ${iso}`];
    elemento.querySelector('.datos').textContent = partes.filter(Boolean).join(' · ');
  }

  progreso({ imagen_id: id, paso, estado }) {
    this.#paso(this.#elemento(id), paso, estado, `${paso}: lista`.replace('metadatos: lista', 'metadatos: listos'));
  }

  #paso(elemento, paso, estado, texto) {
    const punto = elemento.querySelector(`[data-paso="${paso}"]`);
    if (!punto || elemento.dataset.estado !== 'procesando') return;
    punto.dataset.estado = estado;
    elemento.querySelector('.paso').textContent = texto;
  }

  #barra(barra, label, mas = {}) {
    return nodo('groupcast-progress', { ...barra, path: '/ws/notificaciones/', label, ...mas });
  }

  /** Starts the task from here, without a request to the site, and watches it. */
  async #otraVez(elemento, id) {
    const boton = elemento.querySelector('.otra-vez');
    boton.disabled = true;
    try {
      const { task } = (await this.#llamar('reprocesar', { imagen_id: id })) ?? {};
      elemento.dataset.estado = 'procesando';
      elemento.querySelectorAll('.pie .error, .avance').forEach((parte) => parte.remove());
      if (!task) return; // the twin has no answers; imagen_procesada shows the end there, too
      const nombre = elemento.querySelector('.nombre').textContent;
      const barra = this.#barra({ group: `task.${task}` }, `Avance de ${nombre}`);
      barra.addEventListener('task-state', ({ detail }) => detail.state === 'FAILURE' && this.fallida(id, 'No se pudo procesar otra vez.'));
      boton.before(nodo('div', { class: 'avance' }, barra));
    } catch (error) {
      boton.before(nodo('p', { class: 'error' }, error.message));
    } finally {
      boton.disabled = false;
    }
  }

  lista(id, url) {
    const elemento = this.#elemento(id);
    if (elemento.dataset.estado === 'lista') return;
    elemento.dataset.estado = 'lista';
    const nombre = elemento.querySelector('.nombre').textContent;
    elemento.querySelector('.marco').replaceChildren(nodo('img', { src: url, alt: nombre || 'foto', loading: 'lazy' }));
    elemento.querySelector('.avance')?.remove();
    elemento.querySelector('.error')?.remove();
  }

  fallida(id, motivo) {
    const elemento = this.#elemento(id);
    if (elemento.dataset.estado === 'fallida') return;
    elemento.dataset.estado = 'fallida';
    // The bar stays: Celery fails the last task once its errback, which sent this, is done.
    elemento.querySelector('.pasos')?.remove();
    elemento.querySelector('.paso')?.remove();
    elemento.querySelector('.otra-vez').before(nodo('p', { class: 'error' }, motivo || 'Un paso del proceso falló.'));
  }

  #elemento(id) {
    if (this.#fotos.has(id)) return this.#fotos.get(id);
    const pasos = PASOS.map((paso) => nodo('i', { 'data-paso': paso, title: paso }));
    const elemento = nodo('li', { 'data-foto': id, 'data-estado': 'procesando' },
      nodo('div', { class: 'marco' }, dibujo('i-foto')),
      nodo('div', { class: 'pie' },
        nodo('b', { class: 'nombre' }),
        nodo('div', { class: 'avance' },
          nodo('div', { class: 'pasos', 'aria-hidden': 'true' }, ...pasos),
          nodo('p', { class: 'paso tenue' }, 'en cola…')),
        nodo('p', { class: 'datos tenue' }),
        nodo('button', { class: 'otra-vez', type: 'button', ...(DAPHNE && { hidden: '' }) }, 'Procesar otra vez')));
    elemento.querySelector('.otra-vez').addEventListener('click', () => this.#otraVez(elemento, id));
    elemento.addEventListener('task-state', ({ detail }) => {
      if (detail.state === 'RETRY') this.#paso(elemento, 'revisión', 'reintento', 'revisión: el servicio falló, se intenta otra vez');
    });
    this.#fotos.set(id, elemento);
    $('fotos').prepend(elemento);
    return elemento;
  }

  async #ejemplo(nombre) {
    const semilla = this.#semilla++;
    const respuesta = await fetch(`/fotos/ejemplo/${semilla}.jpg`);
    await this.#subir(await respuesta.blob(), `${nombre}-${semilla}.jpg`);
  }

  async #subir(archivo, nombre) {
    $('error-foto').textContent = '';
    const body = new FormData();
    body.append('foto', archivo, nombre);
    try {
      this.poner(await pedir('/fotos/', { method: 'POST', body }));
    } catch (error) {
      $('error-foto').textContent = error.message;
    }
  }
}
