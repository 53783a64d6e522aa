// A group as one of its holders sees it.

import { messages, once } from './iterate.js';
import { behind, place } from './reach.js';

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

  /**
   * Listens to events by their `type`, to all (`*`: the message alone), or to what happens to the
   * membership: `$joined`, `$gap`, `$left`.
   * @returns {() => void} removes the listener
   */
  on(event, callback, options) {
    return behind(this).on(event, callback, options);
  }

  /** The next event of a `type`, as a message; of `$joined` and `$gap` what their listeners get. */
  once(event, options) {
    return once(behind(this), event, options ?? {});
  }

  /** All messages from now on; `for await (const message of group)` is the same. */
  messages(options) {
    return messages(behind(this), options ?? {});
  }

  [Symbol.asyncIterator]() {
    return this.messages();
  }

  /** Publishes an event to the group, where granted. */
  send(data, options) {
    const { options: { send }, membership } = behind(this);
    return send(membership.name, data, options);
  }

  /** Ends this `join` and its listeners, once; the last one of a name leaves the group. */
  leave() {
    behind(this).leave();
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.leave();
  }
}
