// A group as one of its holders sees it.

import { behind, forward, place } from './reach.js';

/** Made by each `client.join`, over one membership for all who joined the same name. */
export class Group {
  constructor(handle) {
    place(this, handle);
  }

  get name() {
    return behind(this).membership.name;
  }

  get state() {
    return behind(this).state;
  }

  get position() {
    return behind(this).membership.position;
  }

  /** Why `state` is `closed`. */
  get error() {
    return behind(this).error;
  }

  /**
   * Resolves once joined; rejects when refused, left or closed, and with `timeout` when that takes
   * long, while the client goes on trying.
   */
  get ready() {
    return behind(this).ready;
  }

  [Symbol.asyncIterator]() {
    return this.messages();
  }
}

forward(Group, 'leave', ['on', 'once', 'messages', 'send', 'leave']);
