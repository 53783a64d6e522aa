// The seller's notices. Every tab paints a notice as read when the event says so, the one that asked too.

import { $, hora, nodo, pesos } from './pintar.js';

export class Avisos {
  #llamar;
  #avisos = new Map();

  constructor(llamar) {
    this.#llamar = llamar;
    $('leer-todas').addEventListener('click', () => this.#leer([...this.#sinLeer()]));
  }

  pintar(avisos, sinLeer) {
    for (const aviso of [...avisos].reverse()) {
      this.#poner(aviso);
      if (aviso.leida) this.#marcar(aviso.id);
    }
    // What arrived while the state was on its way is not in its count.
    const ultimo = Math.max(0, ...avisos.map(({ id }) => id));
    const despues = [...this.#sinLeer()].filter((id) => id > ultimo).length;
    this.#contar(sinLeer + despues);
  }

  /** @returns {boolean} whether it was new */
  nueva(aviso) {
    if (!this.#poner(aviso)) return false;
    this.#contar(Number($('sin-leer').textContent) + 1);
    return true;
  }

  leidas(ids, sinLeer) {
    for (const id of ids) this.#marcar(id);
    this.#contar(sinLeer);
  }

  #poner({ id, titulo, mensaje, monto, timestamp }) {
    if (this.#avisos.has(id)) return false;
    const elemento = nodo('li', { 'data-aviso': id },
      nodo('div', {}, nodo('b', {}, titulo), nodo('p', {}, mensaje)),
      nodo('div', { class: 'monto' }, nodo('b', {}, pesos(monto)), nodo('time', { datetime: timestamp }, hora(new Date(timestamp)))),
      nodo('button', { type: 'button', class: 'liso', 'aria-label': `Marcar leída: ${mensaje}`, onclick: () => this.#leer([id]) }, 'Marcar leída'));
    this.#avisos.set(id, elemento);
    $('lista-avisos').prepend(elemento);
    $('sin-avisos').hidden = true;
    return true;
  }

  #marcar(id) {
    const elemento = this.#avisos.get(id);
    if (!elemento || elemento.classList.contains('leida')) return;
    elemento.classList.add('leida');
    elemento.querySelector('button').replaceWith(nodo('span', { class: 'tenue' }, 'Leída'));
  }

  * #sinLeer() {
    for (const [id, elemento] of this.#avisos) if (!elemento.classList.contains('leida')) yield id;
  }

  async #leer(ids) {
    try {
      await this.#llamar('marcar_leida', { ids });
    } catch (error) {
      $('conexion').title = error.message;
    }
  }

  #contar(sinLeer) {
    $('sin-leer').textContent = sinLeer;
    $('leer-todas').hidden = sinLeer < 2;
    document.title = document.title.replace(/^(\(\d+\) )?/, sinLeer ? `(${sinLeer}) ` : '');
  }
}
