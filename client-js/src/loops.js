// Groups read as a sequence: promises and loops in place of listeners.

import { check, checkWait } from './check.js';
import { deferred, onAbort, unwatched, within } from './deferred.js';
import { isFailure } from './errors.js';
import { ENDED } from './handle.js';

/**
 * Runs `end` once the handle ends or `signal` aborts, immediately if so already, and connects if not.
 * @returns {() => void} stops listening and waiting for the end
 */
function listening({ group, core, listeners }, signal, end, removers) {
  removers.push(listeners.on(ENDED, end), onAbort(signal, () => end(signal.reason)));
  if (group.state === 'closed') end(group.error);
  else core.link.connect();
  return () => {
    for (const remove of removers) remove();
  };
}

/**
 * @param {import('./handle.js').Handle} handle
 * @param {{buffer?: number, signal?: AbortSignal}} options `buffer`: messages that wait for a slow reader
 * @returns {AsyncIterableIterator<object>} messages and, where something was missed, `{ event: '$gap', gap }`
 */
function messages(handle, { buffer = 256, signal }) {
  check(buffer >= 1, 'bad_request', 'buffer', buffer);
  checkWait(0, signal);
  const queue = [];
  let dropped = 0;
  let waiting;
  let failure;
  let ended;
  let stop;

  const push = (item) => {
    queue.push(item);
    if (queue.length > buffer) {
      queue.shift();
      dropped += 1;
    }
    waiting?.fulfil();
  };
  const end = (error) => {
    if (ended) return;
    ended = true;
    // What the application itself ended ends plainly.
    if (error && !signal?.aborted && isFailure(error)) failure = error;
    stop?.();
    waiting?.fulfil();
  };
  const noticeOf = (gap) => ({ group: handle.group.name, event: '$gap', gap, recovered: false });
  stop = listening(handle, signal, end, [
    handle.group.on('*', push), handle.group.on('$gap', (gap) => push(noticeOf(gap))),
  ]);
  if (ended) stop();

  const iterator = (async function* read() {
    for (;;) {
      if (dropped > 0) {
        const lost = dropped;
        dropped = 0;
        yield noticeOf({ reason: 'buffer', possible: false, lost });
      } else if (queue.length > 0) yield queue.shift();
      else if (failure) throw failure;
      else if (ended) return;
      else {
        waiting = deferred();
        await waiting.promise;
      }
    }
  })();
  const finish = iterator.return;
  // A generator that waits would not hear of it.
  iterator.return = () => {
    end();
    queue.length = dropped = 0;
    return finish.call(iterator);
  };
  return iterator;
}

/** @param {{timeout?: number, signal?: AbortSignal}} options */
function once(handle, event, { timeout = Infinity, signal }) {
  checkWait(timeout, signal);
  const { promise, fulfil, refuse } = deferred();
  const stop = listening(handle, signal, refuse, [
    handle.group.on(event, (value, message) => fulfil(message ?? value), { once: true }),
  ]);
  return unwatched(within(promise, timeout, event).finally(stop));
}

/** What groups have in the full client beyond those of `groupcast/core`. */
export const loops = (handle) => ({
  /** The next event of a `type`, as a message; of `$joined` and `$gap` what their listeners get. */
  once: (event, options) => once(handle(), event, options ?? {}),

  /** All messages from now on; `for await (const message of group)` is the same. */
  messages: (options) => messages(handle(), options ?? {}),

  [Symbol.asyncIterator]: () => messages(handle(), {}),
});
