// What an application holds: groups, requests and listeners over a connection that comes back.

import { Connector } from './connector.js';
import { GroupcastError } from './errors.js';
import { Groups } from './groups.js';
import { Listeners, guarded } from './listeners.js';
import { Outbox } from './outbox.js';

export class GroupcastClient {
  /** Called with every message, beside the listeners. */
  onmessage = null;

  #timeout;
  #listeners = new Listeners();
  #connector;
  #groups;
  #outbox;

  constructor(url, options = {}) {
    this.#timeout = options.timeout ?? 10_000;
    this.#connector = new Connector(url, { connectTimeout: 10_000, ...options }, {
      starting: () => this.#groups.resume(),
      since: (maxBytes) => this.#groups.since(maxBytes),
      welcomed: (standings) => this.#welcomed(standings),
      received: (frame) => this.#received(frame),
      lost: () => this.#lost(),
      closed: (error) => this.#closed(error),
      emit: (event, value) => this.#listeners.emit(event, value),
    });
    this.#groups = new Groups(this, this.#connector);
    this.#outbox = new Outbox(options.outbox, this.#connector);
  }

  /** `idle`, `connecting`, `connected`, `waiting` (to try again) or `closed` (will not try again). */
  get state() {
    return this.#connector.state;
  }

  /** The connection's id, while connected. */
  get id() {
    return this.#connector.welcome?.connection;
  }

  /** The groups held, by name: joined here or by the server. */
  get groups() {
    return this.#groups.all();
  }

  /** Connects, and stays so until `close`. Resolves when first connected, rejects when closed. */
  connect() {
    return this.#connector.connect();
  }

  /** Tries now instead of waiting: for a button. Begins anew after `closed`. */
  reconnect() {
    if (this.state === 'waiting') this.#connector.wake();
    else this.connect();
  }

  /** Ends the connection and everything that waits for it. `connect` begins anew. */
  close(code = 1000) {
    this.#connector.close(code);
  }

  /** Replaces the token; while connected, in band. */
  setToken(token) {
    this.#connector.setToken(token);
  }

  /** Joins a group, now or when connected; the same object for the same name. Connects if idle. */
  join(name, options) {
    const group = this.#groups.join(name, options);
    this.#connector.connectSoon();
    return group;
  }

  /** Undoes one `join`. */
  leave(name) {
    this.#groups.leave(name);
  }

  /**
   * Publishes an event to a group, joined or not, where granted. Repeated after a lost connection with
   * the same `key`, so that it is published once.
   */
  send(group, data, { echo = true, key = newKey(), timeout } = {}) {
    const quiet = echo ? undefined : false;
    return this.#request({ type: 'send', group, data, echo: quiet, key }, timeout);
  }

  /** Asks the back end. Repeated after a lost connection only with a `key`. */
  call(name, data, { key, timeout } = {}) {
    return this.#request({ type: 'call', name, data, key }, timeout);
  }

  /** Listens to `state`, `waiting`, `closed`, `error`, `event` or `gap`; returns the remover. */
  on(event, callback, options) {
    return this.#listeners.on(event, callback, options);
  }

  #request(frame, timeout = this.#timeout) {
    if (this.state === 'closed') {
      return Promise.reject(new GroupcastError('closed', 'the client is closed'));
    }
    const answer = this.#outbox.request(frame, timeout);
    this.#connector.connectSoon();
    return answer;
  }

  #welcomed(standings) {
    const notifications = this.#groups.welcomed(standings);
    this.#outbox.flush();
    return notifications;
  }

  #received(frame) {
    switch (frame.type) {
      case 'event':
        return this.#deliver(this.#groups.event(frame));
      case 'gap':
        if (frame.group !== undefined) return this.#groups.gap(frame);
        return this.#missed(frame);
      case 'joined':
      case 'left':
        return frame.id === undefined && this.#groups.changed(frame);
      case 'result':
        return this.#outbox.answered(frame);
      case 'error':
        if (this.#outbox.answered(frame) || frame.id !== undefined) return;
        this.#listeners.emit('error', GroupcastError.from(frame));
    }
  }

  /** Events of no group were missed: the client's own affair. */
  #missed({ reason, lost, possible = false }) {
    this.#listeners.emit('gap', { reason, lost, possible });
  }

  #deliver(message) {
    if (!message) return;
    if (this.onmessage) guarded(this.onmessage, message);
    this.#listeners.emit('event', message);
  }

  #lost() {
    this.#groups.lost();
    this.#outbox.lost();
  }

  #closed(error) {
    this.#groups.suspend(error);
    this.#outbox.close(error);
  }
}

/** Unique among the requests of one `sub` within the window in which keys are remembered. */
function newKey() {
  // Pages without TLS have `crypto` but no `randomUUID`.
  return crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}-${Math.random()}`;
}
