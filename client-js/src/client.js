// What an application holds: groups, requests and listeners over a connection that comes back.

import { checkTimeout } from './check.js';
import { Core } from './core.js';
import { within } from './deferred.js';
import { behind, place } from './reach.js';

export class GroupcastClient {
  /** Called with every message, beside the listeners. */
  onmessage = null;

  constructor(url, options) {
    place(this, new Core(this, url, options ?? {}));
  }

  /** `idle`, `connecting`, `connected`, `waiting` (to try again) or `closed` (will not try again). */
  get state() {
    return behind(this).connector.state;
  }

  /** The connection's id, while connected. */
  get id() {
    return behind(this).connector.welcome?.connection;
  }

  /** The groups held, by name: joined here or by the server. What is shown listens, but holds nothing. */
  get groups() {
    return behind(this).groups.all();
  }

  /**
   * Connects, and stays so until `close`. Resolves when first connected; rejects when closed, and with
   * `timeout` when that takes long, while the client goes on trying.
   */
  connect({ timeout = behind(this).timeout } = {}) {
    checkTimeout(timeout);
    return within(behind(this).connector.connect(), timeout, 'not connected');
  }

  /** Tries now instead of waiting, or makes sure that the connection lives. Begins anew after `closed`. */
  reconnect() {
    const { connector } = behind(this);
    connector.wake(false);
    connector.connect();
  }

  /** Ends the connection and everything that waits for it. `connect` begins anew. */
  close(code = 1000) {
    behind(this).connector.close(code);
  }

  /** Replaces the token; while connected, in band; after 4401, connects again. */
  setToken(token) {
    behind(this).connector.setToken(token);
  }

  /** Joins a group, now or when connected. Each join is a handle of its own. Connects if idle. */
  join(name, options) {
    return behind(this).join(name, options ?? {});
  }

  /** Undoes every `join` of a name. */
  leave(name) {
    behind(this).groups.leave(name);
  }

  /**
   * Publishes an event to a group, joined or not, where granted. Repeated after a lost connection with
   * the same `key`, so that it is published once.
   */
  send(group, data, options) {
    return behind(this).send(group, data, options ?? {});
  }

  /** Asks the back end. Repeated after a lost connection only with a `key`. */
  call(name, data, options) {
    return behind(this).call(name, data, options ?? {});
  }

  /** Listens to `state`, `waiting`, `closed`, `error`, `event` or `gap`; returns the remover. */
  on(event, callback, options) {
    return behind(this).on(event, callback, options);
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.close();
  }
}
