// Requests that the application waits for: bounded, in order, paced, kept across connections.

import { Answer, MAX_TIMER_MS, onAbort } from './deferred.js';
import { GroupcastError, tooLarge } from './errors.js';
import { byteLength } from './protocol.js';

/** @typedef {{maxMessages?: number, maxBytes?: number}} OutboxOptions */

export class Outbox {
  #options;
  #link;
  // Insertion order is sending order, also when a new connection sends again.
  #requests = new Map();
  #bytes = 0;
  #unanswered = 0;
  #timer;

  /**
   * @param {OutboxOptions} options
   * @param {{nextId(): number, live(): boolean, largest: number, send(text: string): boolean,
   *   pacer: import('./pacer.js').Pacer}} link
   */
  constructor(options, link) {
    this.#options = options ?? {};
    this.#link = link;
  }

  /**
   * @param {object} frame without `id`
   * @param {number} timeout ms until it must be answered, waiting for a connection included
   * @param {AbortSignal} [signal] stops waiting; what is not sent by then never is
   * @returns {Answer} the `data` of the result
   */
  request(frame, timeout, signal) {
    const id = this.#link.nextId();
    const text = JSON.stringify({ ...frame, id });
    const bytes = byteLength(text);
    return new Answer((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      this.#admit(bytes);
      const request = { frame: text, bytes, repeatable: frame.key !== undefined, sent: false, tried: false, resolve };
      request.forget = onAbort(signal, () => this.#fail(id, signal.reason));
      request.reject = (error) => {
        if (error instanceof GroupcastError) error.sent = request.tried;
        reject(error);
      };
      if (timeout < Infinity) {
        request.timer = setTimeout(() => this.#fail(id, late(request)), Math.min(timeout, MAX_TIMER_MS));
      }
      this.#requests.set(id, request);
      this.#bytes += bytes;
      this.flush();
    });
  }

  #admit(bytes) {
    const { maxMessages = 512, maxBytes = 1024 * 1024 } = this.#options;
    const { largest } = this.#link;
    if (bytes > largest) throw tooLarge(bytes, largest);
    const { size } = this.#requests;
    if (size < maxMessages && this.#bytes + bytes <= maxBytes) return;
    throw new GroupcastError('outbox_full', `${size} requests of ${this.#bytes} bytes wait`, true);
  }

  /** Sends what has not been sent on this connection, as fast as the gateway takes it. */
  flush() {
    clearTimeout(this.#timer);
    if (!this.#link.live()) return;
    const { pacer, largest } = this.#link;
    for (const [id, request] of this.#requests) {
      if (request.sent) continue;
      if (request.bytes > largest) {
        // The gateway would close, and the same message would close the next connection, too.
        this.#fail(id, tooLarge(request.bytes, largest));
        continue;
      }
      if (this.#unanswered >= pacer.mostOpen) return;
      const delay = pacer.pause();
      if (delay > 0) {
        this.#timer = setTimeout(() => this.flush(), delay);
        return;
      }
      if (!this.#link.send(request.frame)) return;
      request.sent = request.tried = true;
      this.#unanswered += 1;
    }
  }

  /** @returns {boolean} whether the answer was for a request of this outbox */
  answered({ type, id, ...answer }) {
    const request = this.#take(id);
    if (!request) return false;
    if (type === 'result') request.resolve(answer.data);
    else request.reject(GroupcastError.from(answer));
    this.flush();
    return true;
  }

  /** The connection has ended: requests that can be repeated safely wait for the next one. */
  lost() {
    this.#unanswered = 0;
    for (const [id, request] of this.#requests) {
      if (!request.sent) continue;
      request.sent = false;
      if (request.repeatable) continue;
      this.#fail(id, new GroupcastError('disconnected', `the connection was lost; ${UNKNOWN}`));
    }
  }

  close({ code, message }) {
    clearTimeout(this.#timer);
    for (const id of [...this.#requests.keys()]) this.#fail(id, new GroupcastError(code, message));
  }

  #fail(id, error) {
    this.#take(id)?.reject(error);
  }

  #take(id) {
    const request = this.#requests.get(id);
    if (!request) return undefined;
    this.#requests.delete(id);
    this.#bytes -= request.bytes;
    if (request.sent) this.#unanswered -= 1;
    clearTimeout(request.timer);
    request.forget();
    return request;
  }
}

const UNKNOWN = 'it may have been done';
const late = ({ tried }) => (
  tried
    ? new GroupcastError('timeout', `no answer in time; ${UNKNOWN}`, true)
    : new GroupcastError('expired', 'no connection in time; not sent', true)
);
