// Groups read as a sequence: promises and loops in place of listeners.

import { checkTimeout } from './check.js';
import { deferred, onAbort, within } from './deferred.js';

/** Messages that wait for a slow reader. */
const BUFFER = 256;

/** Runs `end` once the handle ends or `signal` aborts, immediately if so already, and connects if not. */
function watchEnd(handle, signal, end, stops) {
  handle.finishers.add(end);
  stops.push(() => handle.finishers.delete(end));
  stops.push(onAbort(signal, () => end(signal.reason)));
  if (handle.state === 'closed') end(handle.error);
  else handle.core.wanted();
}

/**
 * @param {import('./handle.js').Handle} handle
 * @param {{buffer?: number, signal?: AbortSignal}} options
 * @returns {AsyncIterableIterator<object>} messages and, where something was missed, `{ event: '$gap', gap }`
 */
export function messages(handle, { buffer = BUFFER, signal }) {
  const queue = [];
  let dropped = 0;
  let waiting = null;
  let failure = null;
  let ended = false;

  const push = (item) => {
    queue.push(item);
    if (queue.length > buffer) {
      queue.shift();
      dropped += 1;
    }
    waiting?.resolve();
  };
  const end = (error) => {
    if (ended) return;
    ended = true;
    // What the application itself ended ends plainly.
    if (error && !signal?.aborted && (error.code !== 'closed' || error.closeCode)) failure = error;
    for (const stop of stops) stop();
    waiting?.resolve();
  };
  const notice = (gap) => ({ group: handle.membership.name, event: '$gap', gap, recovered: false });
  const stops = [handle.on('*', push), handle.on('$gap', (gap) => push(notice(gap)))];
  watchEnd(handle, signal, end, stops);

  const done = { done: true, value: undefined };
  return {
    async next() {
      while (queue.length === 0 && !ended) {
        waiting = deferred();
        await waiting.promise;
      }
      if (dropped > 0) {
        const gap = { reason: 'buffer', possible: false, lost: dropped };
        dropped = 0;
        return { done: false, value: notice(gap) };
      }
      if (queue.length > 0) return { done: false, value: queue.shift() };
      const error = failure;
      failure = null;
      if (error) throw error;
      return done;
    },
    async return() {
      end();
      queue.length = dropped = 0;
      return done;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** @param {{timeout?: number, signal?: AbortSignal}} options */
export function once(handle, event, { timeout = Infinity, signal }) {
  checkTimeout(timeout);
  const { promise, resolve, reject } = deferred();
  const stops = [handle.on(event, (value, message) => resolve(message ?? value), { once: true })];
  watchEnd(handle, signal, reject, stops);
  const settled = promise.finally(() => stops.forEach((stop) => stop()));
  return within(settled, timeout, `no ${event} came`);
}
