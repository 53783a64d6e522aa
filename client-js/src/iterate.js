// Groups read as a sequence: promises and loops in place of listeners.

import { checkTimeout } from './check.js';
import { deferred, onAbort, within } from './deferred.js';

/** Messages that wait for a slow reader. */
const BUFFER = 256;

/** Whether a sequence ends here by the application's own decision. */
const isPlainEnd = ({ code, closeCode }) => code === 'closed' && closeCode === undefined;

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
    if (error && !isPlainEnd(error)) failure = error;
    for (const stop of stops) stop();
    waiting?.resolve();
  };
  const notice = (gap) => ({ group: handle.membership.name, event: '$gap', gap, recovered: false });
  const stops = [
    handle.on('*', push),
    handle.on('$gap', (gap) => push(notice(gap))),
    () => handle.finishers.delete(end),
  ];
  handle.finishers.add(end);
  stops.push(onAbort(signal, () => end()));
  if (handle.state === 'closed') end(handle.error);
  else handle.options.wanted();

  const next = async () => {
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
    return { done: true, value: undefined };
  };
  return {
    next,
    return: async () => {
      end();
      queue.length = dropped = 0;
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** @param {{timeout?: number, signal?: AbortSignal}} options */
export function once(handle, event, { timeout, signal }) {
  if (timeout !== undefined) checkTimeout(timeout);
  const { promise, resolve, reject } = deferred();
  const stops = [
    handle.on(event, (value, message) => resolve(message ?? value), { once: true }),
    () => handle.finishers.delete(reject),
  ];
  handle.finishers.add(reject);
  stops.push(onAbort(signal, () => reject(signal.reason)));
  if (handle.state === 'closed') reject(handle.error);
  else handle.options.wanted();
  const settled = promise.finally(() => stops.forEach((stop) => stop()));
  return within(settled, timeout ?? Infinity, `no ${event} came`);
}
