// Photos: choosing, sending, the progress of each, and the picture once it is there.

import { $, dibujo, nodo, pedir } from './pintar.js';

// With Daphne alone nobody serves it, and the dots say how far a photo is.
if ($('panel').dataset.conexion !== 'daphne') import('/client/v1/progress.js');

const PASOS = ['miniatura 160', 'miniatura 480', 'miniatura 1280', 'metadatos', 'revisión'];

export class Fotos {
  #fotos = new Map();
  #semilla = 1;

  constructor() {
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
  poner({ id, nombre, estado, datos, motivo, url_thumbnail: url, barra }) {
    const elemento = this.#elemento(id);
    if (barra && elemento.querySelector('.avance:not(:has(groupcast-progress))')) {
      elemento.querySelector('.avance').prepend(nodo('groupcast-progress', { ...barra, path: '/ws/notificaciones/', label: `Avance de ${nombre}` }));
    }
    elemento.querySelector('.nombre').textContent = nombre;
    if (estado === 'lista') this.lista(id, url);
    if (estado === 'fallida') this.fallida(id, motivo);
    const { ancho, alto, camara, iso } = datos;
    const partes = [ancho && `${ancho} × ${alto}`, camara, iso && `ISO ${iso}`];
    elemento.querySelector('.datos').textContent = partes.filter(Boolean).join(' · ');
  }

  progreso({ imagen_id: id, paso, estado, intento, espera }) {
    const elemento = this.#elemento(id);
    const punto = elemento.querySelector(`[data-paso="${paso}"]`);
    if (!punto || elemento.dataset.estado !== 'procesando') return;
    punto.dataset.estado = estado;
    const reintento = `revisión: el servicio falló, intento ${intento + 1} en ${espera} s`;
    elemento.querySelector('.paso').textContent = estado === 'reintento' ? reintento : `${paso}: lista`.replace('metadatos: lista', 'metadatos: listos');
  }

  lista(id, url) {
    const elemento = this.#elemento(id);
    if (elemento.dataset.estado === 'lista') return;
    elemento.dataset.estado = 'lista';
    const nombre = elemento.querySelector('.nombre').textContent;
    elemento.querySelector('.marco').replaceChildren(nodo('img', { src: url, alt: nombre || 'foto', loading: 'lazy' }));
    elemento.querySelector('.avance').remove();
  }

  fallida(id, motivo) {
    const elemento = this.#elemento(id);
    if (elemento.dataset.estado === 'fallida') return;
    elemento.dataset.estado = 'fallida';
    // The bar stays: Celery fails the last task once its errback, which sent this, is done.
    elemento.querySelector('.pasos').remove();
    elemento.querySelector('.paso').replaceWith(nodo('p', { class: 'error' }, motivo || 'Un paso del proceso falló.'));
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
        nodo('p', { class: 'datos tenue' })));
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
