// Requests that the application waits for: bounded, in order, kept across connections.

import { GroupcastError } from './errors.js';
import { byteLength } from './protocol.js';

/** @typedef {{maxMessages?: number, maxBytes?: number}} OutboxOptions */

export class Outbox {
  #options;
  #link;
  // Insertion order is sending order, also when a new connection sends again.
  #requests = new Map();
  #bytes = 0;

  /**
   * The default of 128 messages stays, with the joins, under the burst of 200 frames that the gateway
   * takes from a new connection.
   * @param {OutboxOptions} options
   * @param {{nextId(): number, live(): boolean, maxBytes: number, send(text: string): boolean}} link
   */
  constructor(options, link) {
    this.#options = { maxMessages: 128, maxBytes: 1024 * 1024, ...options };
    this.#link = link;
  }

  get size() {
    return this.#requests.size;
  }

  /**
   * @param {object} frame without `id`
   * @param {number} timeout ms until it must be answered, waiting for a connection included
   * @returns {Promise<any>} the `data` of the result
   */
  request(frame, timeout) {
    const id = this.#link.nextId();
    const text = JSON.stringify({ ...frame, id });
    const bytes = byteLength(text);
    const refusal = this.#refusal(bytes);
    if (refusal) return Promise.reject(refusal);
    return new Promise((resolve, reject) => {
      const repeatable = frame.key !== undefined;
      const request = { text, bytes, repeatable, sent: false, resolve, reject, timer: undefined };
      request.timer = setTimeout(() => this.#late(id), timeout);
      this.#requests.set(id, request);
      this.#bytes += bytes;
      this.flush();
    });
  }

  #refusal(bytes) {
    const { maxMessages, maxBytes } = this.#options;
    const most = this.#link.maxBytes;
    // The gateway would close, and the same message would close the next connection, too.
    if (bytes > most) {
      return new GroupcastError('too_large', `${bytes} bytes; ${most} are allowed`);
    }
    if (this.#requests.size < maxMessages && this.#bytes + bytes <= maxBytes) return null;
    const waiting = `${this.#requests.size} requests of ${this.#bytes} bytes wait already`;
    return new GroupcastError('outbox_full', waiting, true);
  }

  /** Sends what has not been sent on this connection. */
  flush() {
    if (!this.#link.live()) return;
    for (const request of this.#requests.values()) {
      if (request.sent) continue;
      if (!this.#link.send(request.text)) return;
      request.sent = true;
    }
  }

  /** @returns {boolean} whether the answer was for a request of this outbox */
  answered({ type, id, ...answer }) {
    const request = this.#take(id);
    if (!request) return false;
    if (type === 'result') request.resolve(answer.data);
    else request.reject(GroupcastError.from(answer));
    return true;
  }

  /** The connection is gone: what can be repeated safely waits for the next one. */
  lost() {
    for (const [id, request] of this.#requests) {
      if (!request.sent) continue;
      request.sent = false;
      if (request.repeatable) continue;
      const message = 'the connection was lost before the answer; whether it was done is not known';
      this.#take(id).reject(new GroupcastError('disconnected', message));
    }
  }

  close(error) {
    for (const id of [...this.#requests.keys()]) this.#take(id).reject(error);
  }

  #late(id) {
    const { sent, reject } = this.#take(id);
    const error = sent
      ? new GroupcastError('timeout', 'no answer in time; whether it was done is not known', true)
      : new GroupcastError('expired', 'no connection in time; nothing was sent', true);
    reject(error);
  }

  #take(id) {
    const request = this.#requests.get(id);
    if (!request) return undefined;
    this.#requests.delete(id);
    this.#bytes -= request.bytes;
    clearTimeout(request.timer);
    return request;
  }
}
