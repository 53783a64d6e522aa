// The implementation of a client: connects its connection, its groups and its requests.

import { checkEvent, checkName, checkSince, checkText, checkTimeout } from './check.js';
import { Connector } from './connector.js';
import { Answer, onAbort, within } from './deferred.js';
import { GroupcastError } from './errors.js';
import { Groups } from './groups.js';
import { Listeners, guarded } from './listeners.js';
import { Outbox } from './outbox.js';
import { inBrowser } from './wake.js';

const EVENTS = ['state', 'waiting', 'closed', 'error', 'event', 'gap'];
/** Most warnings that one client prints, each once. */
const MOST_WARNINGS = 50;

let saidNotConnecting = false;

export class Core {
  #client;
  #options;
  #listeners = new Listeners();
  #outbox;
  #warned = new Set();
  #everConnected = false;

  constructor(client, url, options) {
    this.#client = client;
    this.#options = options;
    this.timeout = options.timeout ?? 10_000;
    checkTimeout(this.timeout);
    this.link = new Connector(url, options, this);
    this.members = new Groups(this, this.link);
    this.#outbox = new Outbox(options.outbox, this.link);
  }

  // ===== for the application =====

  /**
   * Connects, and stays so until `close`. Resolves when first connected; rejects when closed, and with
   * `timeout` when that takes long, while the client goes on trying.
   */
  connect({ timeout = this.timeout } = {}) {
    checkTimeout(timeout);
    return within(this.link.connect(), timeout, 'not connected');
  }

  /** Tries now instead of waiting, or makes sure that the connection lives. Starts again after `closed`. */
  reconnect() {
    this.link.wake();
    this.link.connect();
  }

  /** Ends the connection and everything that waits for it. `connect` starts again. */
  close(code = 1000) {
    this.link.close(code);
  }

  /** Replaces the token; while connected, in band; after 4401, connects again. */
  setToken(token) {
    this.link.setToken(token);
  }

  /** Joins a group, now or when connected. Each join has its own handle. Connects if idle. */
  join(name, options) {
    const { since, signal, timeout = this.timeout } = options ?? {};
    checkName(name);
    checkTimeout(timeout);
    const handle = this.members.join(name, checkSince(since), timeout);
    onAbort(signal, () => handle.leave());
    this.#joinedSoon();
    return handle.group;
  }

  /** Undoes every `join` of a name. */
  leave(name) {
    this.members.leave(name);
  }

  /**
   * Publishes an event to a group, joined or not, where granted. Repeated after a lost connection with
   * the same `key`, so that it is published once.
   */
  send(group, data, options) {
    const { echo = true, key = newKey(), ...rest } = options ?? {};
    return this.#request(`send to ${String(group)}`, rest, () => {
      checkName(group);
      checkEvent(data);
      return { type: 'send', group, data, echo: echo ? undefined : false, key };
    });
  }

  /** Asks the back end. Repeated after a lost connection only with a `key`. */
  call(name, data, options) {
    const { key, ...rest } = options ?? {};
    return this.#request(`call ${String(name)}`, rest, () => {
      checkText('the name of a call', name);
      return { type: 'call', name, data, key };
    });
  }

  /** Listens to `state`, `waiting`, `closed`, `error`, `event` or `gap`; returns the remover. */
  on(event, callback, options) {
    this.known(EVENTS, event, 'client');
    return this.#listeners.on(event, callback, options);
  }

  // ===== for groups and requests =====

  /** Connects if the client is idle: something waits for a connection. */
  wanted() {
    if (this.link.state === 'idle') this.link.connect();
  }

  /** Prints a failure without a listener, once. */
  warn(kind, message, cause = '') {
    if (this.#options.warnings === false || this.#warned.has(kind)) return;
    if (this.#warned.size >= MOST_WARNINGS) return;
    this.#warned.add(kind);
    globalThis.console?.warn(`groupcast: ${message}`, cause);
  }

  /** An unknown event name would never be emitted. */
  known(events, event, whose) {
    const message = `${whose}.on: ${event} is none of ${events.join(' ')}`;
    if (!events.includes(event)) this.warn(message, message);
  }

  // ===== for the connection =====

  /** @returns {Array<() => void>} notifications, to be run once the connector is in order */
  welcomed(standings) {
    this.#everConnected = true;
    const notifications = this.members.welcomed(standings);
    this.#outbox.flush();
    return notifications;
  }

  received(frame) {
    const { type, id, group } = frame;
    if (type === 'event') return this.#deliver(this.members.event(frame));
    if (type === 'gap' || type === 'position') {
      if (group !== undefined) return this.members.moved(frame);
      // Events of no group were missed: the client's own affair.
      const { reason, lost, possible = false } = frame;
      return this.emit('gap', { reason, lost, possible });
    }
    if (type === 'result' || type === 'error') {
      if (this.#outbox.answered(frame) || id !== undefined) return;
      return this.emit('error', GroupcastError.from(frame));
    }
    if (id === undefined && (type === 'joined' || type === 'left')) this.members.changed(frame);
  }

  emit(event, value) {
    if (this.#listeners.emit(event, value)) return;
    const { code, reason, error, attempt, message } = value ?? {};
    if (event === 'error') this.warn(`error ${message}`, 'an error that nothing hears:', value);
    // Closed by the gateway, or for lack of a token or a WebSocket; not by the application.
    if (event === 'closed' && (error.code !== 'closed' || error.closeCode)) {
      this.warn(`closed ${code}`, `closed with ${code}, for good: ${reason}`, error);
    }
    if (attempt && !this.#everConnected && !this.#listeners.has('state')) {
      this.warn(event, 'no connection yet; is the address right, and the gateway running?');
    }
  }

  lost() {
    this.members.lost();
    this.#outbox.lost();
  }

  ended(error) {
    this.members.suspend(error);
    this.#outbox.close(error);
  }

  /** A page that is rendered on a server joins, too, and must not dial from there. */
  #joinedSoon() {
    if (inBrowser() || this.#options.WebSocket) return this.link.connectSoon();
    if (saidNotConnecting || this.link.state !== 'idle') return;
    saidNotConnecting = true;
    this.warn('server', 'outside of browsers, call connect()');
  }

  #request(what, { timeout = this.timeout, signal }, frame) {
    let answer;
    try {
      const request = frame();
      if (request.key !== undefined) checkText('`key`', request.key);
      checkTimeout(timeout);
      if (this.link.state === 'closed') throw new GroupcastError('closed', 'the client is closed');
      answer = this.#outbox.request(request, timeout, signal);
      this.link.connectSoon();
    } catch (error) {
      answer = Answer.reject(error);
    }
    return answer.guard((error) => this.warn(`${what} ${error.code}`, `${what} failed, and nothing awaits it:`, error));
  }

  #deliver(message) {
    if (!message) return;
    if (this.#client.onmessage) guarded(this.#client.onmessage, message);
    this.emit('event', message);
  }
}

/** Unique among the requests of one `sub` within the window in which keys are remembered. */
function newKey() {
  // Pages without TLS have `crypto` but no `randomUUID`.
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
}
