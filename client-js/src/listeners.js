// Callbacks by event name. One that throws is reported and harms neither the others nor the socket.

import { checkWait } from './check.js';
import { onAbort } from './deferred.js';
import { DEVELOPMENT } from './development.js';

export function createListeners() {
  const entries = new Set();

  return {
    /**
     * @param {string} event
     * @param {Function} callback
     * @param {{once?: boolean, signal?: AbortSignal}} [options]
     * @returns {() => void} removes it
     */
    on(event, callback, options) {
      if (typeof callback !== 'function') throw new TypeError(DEVELOPMENT ? 'a listener is a function' : event);
      const { once, signal } = options ?? {};
      checkWait(0, signal);
      const entry = { event, callback, once };
      entries.add(entry);
      const forget = onAbort(signal, () => entries.delete(entry));
      return (entry.remove = () => {
        entries.delete(entry);
        forget();
      });
    },

    /** @returns {boolean} whether there is a listener */
    emit(event, ...args) {
      const list = [...entries].filter((entry) => entry.event === event);
      // A copy, because listeners may add listeners; those removed meanwhile are passed over.
      for (const entry of list) {
        if (!entries.has(entry)) continue;
        if (entry.once) entry.remove();
        guarded(entry.callback, ...args);
      }
      return list.length > 0;
    },

    clear() {
      for (const { remove } of entries) remove();
    },
  };
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
  (globalThis.reportError ?? console.error)(error);
}
