// Callbacks by event name. One that throws is reported and harms neither the others nor the socket.

import { onAbort } from './deferred.js';

export class Listeners {
  #lists = new Map();

  /**
   * @param {string} event
   * @param {Function} callback
   * @param {{once?: boolean, signal?: AbortSignal}} [options]
   * @returns {() => void} removes it
   */
  on(event, callback, options) {
    if (typeof callback !== 'function') throw new TypeError('a listener is a function');
    const { once = false, signal } = options ?? {};
    const list = this.#lists.get(event) ?? new Set();
    this.#lists.set(event, list);
    const entry = { callback, once, remove: () => {} };
    list.add(entry);
    const forget = onAbort(signal, () => entry.remove());
    entry.remove = () => {
      list.delete(entry);
      forget();
    };
    if (signal?.aborted) entry.remove();
    return entry.remove;
  }

  /** @returns {boolean} whether there is a listener */
  emit(event, ...args) {
    const list = this.#lists.get(event);
    if (!list?.size) return false;
    // A copy, because listeners may add listeners; those removed meanwhile are passed over.
    for (const entry of [...list]) {
      if (!list.has(entry)) continue;
      if (entry.once) entry.remove();
      guarded(entry.callback, ...args);
    }
    return true;
  }

  has(event) {
    return Boolean(this.#lists.get(event)?.size);
  }

  clear() {
    for (const list of this.#lists.values()) for (const entry of [...list]) entry.remove();
    this.#lists.clear();
  }
}

/** Calls an application's function; what it throws, now or later, is reported and goes no further. */
export function guarded(callback, ...args) {
  try {
    callback(...args)?.then?.(undefined, report);
  } catch (error) {
    report(error);
  }
}

/** As an uncaught error where that is a report; in Node it would end the process. */
function report(error) {
  if (typeof reportError === 'function') reportError(error);
  else console.error(error);
}
