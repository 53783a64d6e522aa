// The public client: groups, requests and listeners over a connection that is restored.

import { Core } from './core.js';
import { behind, forward, place } from './reach.js';

/** Its methods are those of `Core`, where they are described. */
export class GroupcastClient {
  /** Called with every message, beside the listeners. */
  onmessage = null;

  constructor(url, options) {
    place(this, new Core(this, url, options ?? {}));
  }

  /** `idle`, `connecting`, `connected`, `waiting` (to try again) or `closed` (will not try again). */
  get state() {
    return behind(this).link.state;
  }

  /** The connection's id, while connected. */
  get id() {
    return behind(this).link.welcome?.connection;
  }

  /** The groups held, by name: joined here or by the server. What is shown listens, but holds nothing. */
  get groups() {
    return behind(this).members.all();
  }
}

forward(GroupcastClient, 'close', ['connect', 'reconnect', 'close', 'setToken', 'join', 'leave', 'send', 'call', 'on']);
