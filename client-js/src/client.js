// The public client: groups, requests and listeners over a connection that is restored.

import { createCore } from './core.js';
import { DISPOSE } from './handle.js';

const CORE = Symbol('groupcast');

/**
 * Vue's `reactive`, Alpine and others hand out a Proxy in place of an object, on which private fields
 * throw, and wrap every object that is read through it, so that identities no longer hold. Functions
 * they leave alone: the client keeps one that returns the real thing.
 */
const behind = (client) => client[CORE]();

/** Its methods are those of `createCore`, where they are described. */
export class GroupcastClient {
  /** Called with every message, beside the listeners. */
  onmessage = null;

  /** @param {typeof import('./loops.js').loops} [loops] what the full client adds to groups */
  constructor(url, options, loops) {
    const core = createCore(this, url, options ?? {}, loops);
    this[CORE] = () => core;
  }

  /** `idle`, `connecting`, `connected`, `waiting` (to try again) or `closed` (will not try again). */
  get state() {
    return behind(this).link.state;
  }

  /** The connection's id, while connected. */
  get id() {
    return behind(this).link.session?.welcome?.connection;
  }

  /** The groups held, by name: joined here or by the server. What is shown listens, but holds nothing. */
  get groups() {
    return behind(this).members.all();
  }

  connect(options) {
    return behind(this).connect(options);
  }

  reconnect() {
    behind(this).reconnect();
  }

  close(code) {
    behind(this).link.close(code);
  }

  setToken(token) {
    behind(this).link.setToken(token);
  }

  join(name, options) {
    return behind(this).join(name, options);
  }

  leave(name) {
    behind(this).members.leave(name);
  }

  send(group, data, options) {
    return behind(this).send(group, data, options);
  }

  call(name, data, options) {
    return behind(this).call(name, data, options);
  }

  on(event, callback, options) {
    return behind(this).on(event, callback, options);
  }

  [DISPOSE]() {
    this.close();
  }
}
