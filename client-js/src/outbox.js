// Requests that the application waits for: bounded, in order, paced, kept across connections.

import { onAbort } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError, errorFrom } from './errors.js';
import { sizeOf, tooLarge } from './protocol.js';
import { after } from './timer.js';

const UNKNOWN = DEVELOPMENT && 'it may have been done';
const late = ({ tried }) => (
  tried
    ? new GroupcastError('timeout', DEVELOPMENT && `no answer in time; ${UNKNOWN}`, true)
    : new GroupcastError('expired', DEVELOPMENT && 'no connection in time; not sent', true)
);

/**
 * @param {ReturnType<import('./connector.js').createConnector>} link
 * @param {{maxMessages?: number, maxBytes?: number}} options
 */
export function createOutbox(link, { maxMessages = 512, maxBytes = 1024 * 1024 }) {
  // Insertion order is sending order, also when a new connection sends again.
  const requests = new Map();
  let waiting = 0;
  let unanswered = 0;
  let timer;

  /** The error if so much may not be added. */
  function refusal(bytes) {
    const { size } = requests;
    const full = size >= maxMessages || waiting + bytes > maxBytes;
    return tooLarge(bytes, link.largest) || full && new GroupcastError('outbox_full', DEVELOPMENT && `${size} requests of ${waiting} bytes wait`, true);
  }

  /** Sends what has not been sent on this connection, as fast as the gateway takes it. */
  function flush() {
    clearTimeout(timer);
    if (!link.live()) return;
    for (const [id, request] of requests) {
      if (request.sent) continue;
      // The gateway would close, and the same message would close the next connection, too.
      const error = tooLarge(request.bytes, link.largest);
      if (error) {
        fail(id, error);
        continue;
      }
      if (unanswered >= link.pacer.mostOpen) return;
      const delay = link.pacer.pause();
      if (delay > 0) {
        timer = setTimeout(flush, delay);
        return;
      }
      if (!link.send(id, request.text, (frame) => answered(id, frame))) return;
      request.sent = request.tried = true;
      unanswered += 1;
    }
  }

  function answered(id, frame) {
    if (frame.code) fail(id, errorFrom(frame));
    else take(id)?.resolve(frame.data);
    flush();
  }

  function fail(id, error) {
    const request = take(id);
    // Whatever an `AbortSignal` was given is not ours.
    if (error instanceof GroupcastError) error.sent = request?.tried;
    request?.reject(error);
  }

  function take(id) {
    const request = requests.get(id);
    if (!request) return undefined;
    requests.delete(id);
    waiting -= request.bytes;
    if (request.sent) unanswered -= 1;
    clearTimeout(request.timer);
    request.forget();
    return request;
  }

  return {
    flush,

    /**
     * @param {object} frame without `id`
     * @param {number} timeout ms until it must be answered, waiting for a connection included
     * @param {AbortSignal} [signal] stops waiting; what is not sent by then never is
     * @param {Function} resolve gets the `data` of the result
     * @param {Function} reject
     */
    request(frame, timeout, signal, resolve, reject) {
      if (signal?.aborted) throw signal.reason;
      const id = link.nextId();
      const text = JSON.stringify({ ...frame, id });
      const bytes = sizeOf(text);
      const error = refusal(bytes);
      if (error) throw error;
      const request = {
        text,
        bytes,
        repeatable: frame.key,
        tried: false,
        resolve,
        reject,
        forget: onAbort(signal, () => fail(id, signal.reason)),
        timer: after(timeout, () => fail(id, late(request))),
      };
      requests.set(id, request);
      waiting += bytes;
      flush();
    },

    /** The connection has ended: requests that can be repeated safely wait for the next one. */
    disconnected() {
      unanswered = 0;
      for (const [id, request] of requests) {
        if (!request.sent) continue;
        request.sent = false;
        if (request.repeatable) continue;
        fail(id, new GroupcastError('disconnected', DEVELOPMENT && `the connection was lost; ${UNKNOWN}`));
      }
    },

    close(error) {
      clearTimeout(timer);
      // The browser's own, for an address that it refuses, has a number or none.
      const code = error instanceof GroupcastError ? error.code : 'closed';
      for (const id of requests.keys()) fail(id, new GroupcastError(code, error.message));
    },
  };
}
