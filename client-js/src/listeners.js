// Callbacks by event name. One that throws is reported and harms neither the others nor the socket.

export class Listeners {
  #lists = new Map();

  /**
   * @param {string} event
   * @param {Function} callback
   * @param {{once?: boolean, signal?: AbortSignal}} [options]
   * @returns {() => void} removes it
   */
  on(event, callback, { once = false, signal } = {}) {
    if (typeof callback !== 'function') throw new TypeError('a listener must be a function');
    if (signal?.aborted) return () => {};
    const list = this.#lists.get(event) ?? new Set();
    this.#lists.set(event, list);
    const entry = { callback, once, remove: () => {} };
    const remove = () => {
      list.delete(entry);
      signal?.removeEventListener('abort', remove);
    };
    entry.remove = remove;
    list.add(entry);
    signal?.addEventListener('abort', remove);
    return remove;
  }

  emit(event, ...args) {
    // A copy: a listener may add and remove listeners.
    for (const entry of [...(this.#lists.get(event) ?? [])]) {
      if (entry.once) entry.remove();
      guarded(entry.callback, ...args);
    }
  }

  clear() {
    for (const list of this.#lists.values()) for (const entry of [...list]) entry.remove();
    this.#lists.clear();
  }

  get size() {
    let size = 0;
    for (const list of this.#lists.values()) size += list.size;
    return size;
  }
}

/** Calls an application's function; what it throws surfaces as an uncaught error, later. */
export function guarded(callback, ...args) {
  try {
    callback(...args);
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else setTimeout(() => { throw error; });
  }
}
