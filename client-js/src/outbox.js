// Requests that the application waits for: bounded, in order, paced, kept across connections.

import { Answer, MAX_TIMER_MS, onAbort } from './deferred.js';
import { GroupcastError } from './errors.js';
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
   * @param {{nextId(): number, live(): boolean, maxBytes: number, send(text: string): boolean,
   *   pacer: import('./pacer.js').Pacer}} link
   */
  constructor(options, link) {
    this.#options = { maxMessages: 512, maxBytes: 1024 * 1024, ...options };
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
      const request = { text, bytes, repeatable: frame.key !== undefined, sent: false, tried: false, resolve };
      request.forget = onAbort(signal, () => this.#fail(id, signal.reason));
      request.reject = (error) => {
        if (error instanceof GroupcastError) error.sent = request.tried;
        reject(error);
      };
      if (timeout < Infinity) {
        request.timer = setTimeout(() => this.#late(id), Math.min(timeout, MAX_TIMER_MS));
      }
      this.#requests.set(id, request);
      this.#bytes += bytes;
      this.flush();
    });
  }

  #admit(bytes) {
    const { maxMessages, maxBytes } = this.#options;
    const most = this.#link.maxBytes;
    if (bytes > most) throw tooLarge(bytes, most);
    if (this.#requests.size < maxMessages && this.#bytes + bytes <= maxBytes) return;
    const waiting = `${this.#requests.size} requests of ${this.#bytes} bytes wait already`;
    throw new GroupcastError('outbox_full', waiting, true);
  }

  /** Sends what has not been sent on this connection, as fast as the gateway takes it. */
  flush() {
    clearTimeout(this.#timer);
    if (!this.#link.live()) return;
    const { pacer, maxBytes } = this.#link;
    for (const [id, request] of this.#requests) {
      if (request.sent) continue;
      // The gateway would close, and the same message would close the next connection, too.
      if (request.bytes > maxBytes) {
        this.#fail(id, tooLarge(request.bytes, maxBytes));
        continue;
      }
      if (this.#unanswered >= pacer.window) return;
      const delay = pacer.delay();
      if (delay > 0) {
        this.#timer = setTimeout(() => this.flush(), delay);
        return;
      }
      if (!this.#link.send(request.text)) return;
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

  /** The connection is gone: what can be repeated safely waits for the next one. */
  lost() {
    this.#unanswered = 0;
    for (const [id, request] of this.#requests) {
      if (!request.sent) continue;
      request.sent = false;
      if (request.repeatable) continue;
      const message = 'the connection was lost before the answer; whether it was done is not known';
      this.#fail(id, new GroupcastError('disconnected', message));
    }
  }

  close({ code, message }) {
    clearTimeout(this.#timer);
    for (const id of [...this.#requests.keys()]) this.#fail(id, new GroupcastError(code, message));
  }

  #late(id) {
    const error = this.#requests.get(id).tried
      ? new GroupcastError('timeout', 'no answer in time; whether it was done is not known', true)
      : new GroupcastError('expired', 'no connection in time; nothing was sent', true);
    this.#fail(id, error);
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

const tooLarge = (bytes, most) => (
  new GroupcastError('too_large', `${bytes} bytes; the gateway takes ${most}`)
);
