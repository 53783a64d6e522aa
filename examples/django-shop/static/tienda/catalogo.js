// What is for sale.

import { $, dibujo, nodo, pedir, pesos } from './pintar.js';

export class Catalogo {
  #productos = new Map();
  #comprado;

  /** @param {(producto: object) => void} comprado called once a purchase is accepted */
  constructor(comprado) {
    this.#comprado = comprado;
  }

  pintar(productos) {
    for (const producto of productos) {
      if (!this.#productos.has(producto.id)) this.#poner(producto);
      this.quedan(producto.id, producto.quedan);
    }
  }

  quedan(id, cuantos) {
    const elemento = this.#productos.get(id);
    if (!elemento) return;
    const texto = cuantos ? `Quedan ${cuantos}` : 'Agotado';
    const lugar = elemento.querySelector('.quedan');
    if (lugar.textContent && lugar.textContent !== texto) {
      lugar.classList.remove('cambio');
      requestAnimationFrame(() => lugar.classList.add('cambio'));
    }
    lugar.textContent = texto;
    const boton = elemento.querySelector('button');
    if (boton) boton.disabled = !cuantos;
  }

  #poner({ id, nombre, dibujo: figura, precio, vendedor, propio }) {
    const comprar = nodo('button', { type: 'button', class: 'principal', 'aria-label': `Comprar ${nombre}`, onclick: () => this.#comprar({ id, nombre, precio }) }, 'Comprar');
    const elemento = nodo('li', { 'data-producto': id, class: propio ? 'propio' : '' },
      dibujo(`d-${figura}`),
      nodo('div', {},
        nodo('b', {}, nombre),
        nodo('p', { class: 'tenue' }, propio ? 'Tuyo' : `de ${vendedor}`, ' · ', nodo('span', { class: 'quedan' })),
        nodo('p', { class: 'precio' }, pesos(precio))),
      propio ? nodo('span') : comprar);
    this.#productos.set(id, elemento);
    $('productos').append(elemento);
  }

  async #comprar(producto) {
    $('error-compra').textContent = '';
    try {
      await pedir(`/comprar/${producto.id}/`, { method: 'POST' });
      this.#comprado(producto);
    } catch (error) {
      $('error-compra').textContent = error.message;
    }
  }
}
