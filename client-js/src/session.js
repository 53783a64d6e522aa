// One connection, from dial to loss. Anything that happens on it after its end is ignored.

import { clock } from './clock.js';
import { BROKEN, PING_GRACE_MS, SUBPROTOCOL } from './protocol.js';

/** How long a probed connection has to answer a ping, and a probed attempt to be welcomed, ms. */
export const PROBE_MS = 2500;

export class Session {
  #socket;
  #link;
  #timer;
  #startedAt = clock();
  #deadline;
  #probing = false;
  #welcomedAt;
  /** The `welcome` frame, once received. */
  welcome = null;

  /**
   * @param {typeof WebSocket} WebSocketClass
   * @param {string} url
   * @param {number} connectTimeout ms for open and welcome together
   * @param {import('./connector.js').Connector} link is notified until it ends
   */
  constructor(WebSocketClass, url, connectTimeout, link) {
    const socket = new WebSocketClass(url, SUBPROTOCOL);
    this.#socket = socket;
    this.#link = link;
    this.#deadline = this.#startedAt + connectTimeout;
    this.#watch();
    socket.onopen = () => this.send(link.hello());
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
    // A close event always follows; Node's `ws` throws errors that have no listener.
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
   * socket stays `OPEN` for minutes, so the clock is compared wherever it matters.
   */
  check() {
    if (this.#link && clock() > this.#deadline) this.#lose(BROKEN, 'no frame in time', true);
    return Boolean(this.#link);
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
    if (!this.#link) return;
    const probed = this.#probing;
    if (this.welcome) this.#heard();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    const type = frame?.type;
    if (typeof type !== 'string') return;
    if (type === 'ping') return void this.send({ type: 'pong' });
    // A gateway that does not know our ping answers with an error, which is a sign of life, too.
    if (type === 'pong' || (probed && frame.code === 'bad_request' && frame.id === undefined)) return;
    if (this.welcome) return this.#link.received(frame);
    if (type !== 'welcome') return;
    this.welcome = frame;
    this.#welcomedAt = clock();
    this.#heard();
    this.#watch();
    this.#link.welcomed(frame);
  }

  #heard() {
    this.#probing = false;
    this.#deadline = clock() + this.welcome.ping_ms + PING_GRACE_MS;
  }

  /** One timer that looks at the clock when it fires, instead of a new one for every frame. */
  #watch() {
    clearTimeout(this.#timer);
    const delay = Math.max(0, this.#deadline - clock()) + 1;
    this.#timer = setTimeout(() => this.check() && this.#watch(), delay);
  }

  #detach() {
    const link = this.#link;
    this.#link = null;
    clearTimeout(this.#timer);
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    return link;
  }

  #lose(code, text, silent = false) {
    const link = this.#detach();
    // Chromium kept a black-holed socket in CLOSING, without an event, for as long as we watched:
    // the loss is reported now, not when the socket agrees.
    if (silent) this.#socket.close();
    const uptime = this.welcome ? clock() - this.#welcomedAt : 0;
    link?.lost(code, text, silent, silent && this.#probing, uptime);
  }
}
