// One connection, from dial to loss. Whatever happens on it after its end counts for nothing.

import { clock } from './clock.js';
import { BROKEN, PING_GRACE_MS, SUBPROTOCOL, parseReason } from './protocol.js';

/** How long a connection in doubt has to answer a ping, and an attempt in doubt to be welcomed, ms. */
export const PROBE_MS = 2500;

/**
 * @typedef {object} Loss
 * @property {number} code close code, 1006 if there was none
 * @property {string} reason
 * @property {number} [retryMs] window asked for by the gateway
 * @property {boolean} silent whether this side gave up on a silent peer
 * @property {boolean} probed whether it gave up because the network was in doubt
 * @property {number} uptimeMs how long it had been welcomed
 */

export class Session {
  #socket;
  #on;
  #timer;
  #startedAt = clock();
  #deadline;
  #probing = false;
  #welcomedAt;
  /** The `welcome` frame, once it came. */
  welcome = null;

  /**
   * @param {typeof WebSocket} WebSocketClass
   * @param {string} url
   * @param {() => object} hello
   * @param {number} connectTimeout ms for open and welcome together
   * @param {{welcome(frame: object): void, frame(frame: object): void, lost(loss: Loss): void}} on
   */
  constructor(WebSocketClass, url, hello, connectTimeout, on) {
    const socket = new WebSocketClass(url, SUBPROTOCOL);
    this.#socket = socket;
    this.#on = on;
    this.#deadline = this.#startedAt + connectTimeout;
    this.#watch();
    socket.onopen = () => this.send(hello());
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
    // A close event always follows; Node's `ws` throws errors that nobody listens to.
    socket.onerror = () => {};
  }

  /** @returns {boolean} whether the frame was given to a socket that was alive as far as known */
  send(frame) {
    if (!this.check() || this.#socket.readyState !== 1) return false;
    this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    return true;
  }

  /**
   * Whether a frame arrived lately. Timers of hidden and sleeping pages don't run, and a dead
   * socket says `OPEN` for minutes, so the clock is compared wherever it matters.
   */
  check() {
    if (!this.#on) return false;
    if (clock() <= this.#deadline) return true;
    this.#lose(BROKEN, 'no frame arrived for too long', true);
    return false;
  }

  /** The network may have changed: what does not answer soon is given up, welcomed or not. */
  probe() {
    if (!this.check() || this.#probing) return;
    this.#probing = true;
    const from = this.welcome ? clock() : this.#startedAt;
    this.#deadline = Math.min(this.#deadline, from + PROBE_MS);
    if (this.welcome) this.send({ type: 'ping' });
    if (this.check()) this.#watch();
  }

  /** Ends it from this side; nothing more is reported. */
  end(code = 1000) {
    this.#detach();
    // A closing handshake may never finish, and a socket that is connecting refuses some codes.
    try {
      this.#socket.close(code);
    } catch {
      this.#socket.close();
    }
  }

  #receive(data) {
    if (!this.#on) return;
    const probed = this.#probing;
    if (this.welcome) {
      this.#deadline = clock() + this.welcome.ping_ms + PING_GRACE_MS;
      this.#probing = false;
    }
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (typeof frame?.type !== 'string') return;
    if (frame.type === 'ping') return void this.send({ type: 'pong' });
    // A gateway that does not know our ping answers with an error, which is a sign of life, too.
    if (frame.type === 'pong' || (probed && frame.code === 'bad_request' && frame.id === undefined)) return;
    if (this.welcome) return void this.#on.frame(frame);
    if (frame.type === 'welcome') this.#begin(frame);
  }

  #begin(frame) {
    this.welcome = frame;
    this.#probing = false;
    this.#welcomedAt = clock();
    this.#deadline = this.#welcomedAt + frame.ping_ms + PING_GRACE_MS;
    this.#watch();
    this.#on.welcome(frame);
  }

  /** One timer that looks at the clock when it fires, instead of one set anew by every frame. */
  #watch() {
    clearTimeout(this.#timer);
    const delay = Math.max(0, this.#deadline - clock()) + 1;
    this.#timer = setTimeout(() => this.check() && this.#watch(), delay);
  }

  #detach() {
    const on = this.#on;
    this.#on = null;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    return on;
  }

  #lose(code, text, silent = false) {
    const on = this.#detach();
    if (!on) return;
    // Chromium kept a black-holed socket in CLOSING, without an event, for as long as we watched:
    // the loss is reported now, not when the socket agrees.
    if (silent) this.#socket.close();
    const uptimeMs = this.#welcomedAt === undefined ? 0 : clock() - this.#welcomedAt;
    on.lost({ code, ...parseReason(text), silent, probed: silent && this.#probing, uptimeMs });
  }
}
