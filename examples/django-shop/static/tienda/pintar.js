// Small things for making and filling elements. Texts are never markup.

export const $ = (id) => document.getElementById(id);

export function nodo(nombre, atributos = {}, ...hijos) {
  const elemento = document.createElement(nombre);
  for (const [clave, valor] of Object.entries(atributos)) {
    if (clave.startsWith('on')) elemento.addEventListener(clave.slice(2), valor);
    else if (typeof valor === 'boolean') elemento.toggleAttribute(clave, valor);
    else elemento.setAttribute(clave, valor);
  }
  elemento.append(...hijos);
  return elemento;
}

export function dibujo(id) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `#${id}`);
  svg.append(use);
  return svg;
}

const moneda = new Intl.NumberFormat('es-CO', { style: 'currency', currency: 'COP', maximumFractionDigits: 0 });
export const pesos = (monto) => moneda.format(monto);

export const hora = (fecha, detalle) => fecha.toLocaleTimeString('es', {
  hour: '2-digit', minute: '2-digit', ...(detalle === 'second' && { second: '2-digit' }),
});

const cookie = (nombre) => document.cookie.match(`(?:^|; )${nombre}=([^;]*)`)?.[1];

/** JSON from the site; a POST carries Django's CSRF token. A refusal throws with the site's words. */
export async function pedir(ruta, { method = 'GET', body } = {}) {
  const headers = method === 'GET' ? {} : { 'X-CSRFToken': cookie('csrftoken') };
  const respuesta = await fetch(ruta, { method, body, headers });
  const datos = await respuesta.json().catch(() => ({}));
  if (!respuesta.ok) throw new Error(datos.error ?? `La tienda respondió ${respuesta.status}.`);
  return datos;
}
