// One holder's share of a membership: its listeners, its promise, its place in the history.

import { checkText } from './check.js';
import { GroupcastError } from './errors.js';
import { Group } from './group.js';
import { messages, once } from './iterate.js';
import { Listeners } from './listeners.js';
import { deferred, rejected, within } from './deferred.js';

const LIFECYCLE = ['*', '$joined', '$gap', '$left'];

/** `.` and `_` are equal in event names, as in Channels. */
const plainName = (event) => event.replaceAll('.', '_');

export class Handle {
  /** Why it ended, which is final. */
  ended = null;
  /** Whether a `$joined` has been sent to it. */
  announced = false;
  /** Run with the error when the group is refused, left or closed: ends iterators and `once`. */
  finishers = new Set();

  // Events and what happens to the membership never share a name: no sender can pretend the latter.
  #events = new Listeners();
  #lifecycle = new Listeners();
  #ready = null;
  #timeout;

  /**
   * @param {import('./membership.js').Membership} membership
   * @param {import('./core.js').Core} core
   * @param {object} [since] the position to go on from, until it has been answered
   * @param {number} timeout of `ready`, ms
   */
  constructor(membership, core, since, timeout) {
    this.membership = membership;
    this.core = core;
    this.since = since;
    this.#timeout = timeout;
    this.group = new Group(this);
  }

  get state() {
    return this.ended ? 'closed' : this.membership.state;
  }

  get error() {
    return this.ended ?? this.membership.error;
  }

  get ready() {
    if (this.state === 'joined') return Promise.resolve(this.group);
    // A join may fail immediately.
    if (this.state !== 'closed') this.core.wanted();
    if (this.state === 'closed') return rejected(this.error);
    this.#ready ??= deferred();
    return within(this.#ready.promise, this.#timeout, `${this.membership.name} was not joined`);
  }

  /**
   * Listens to events by their `type`, to all (`*`: the message alone), or to what happens to the
   * membership: `$joined`, `$gap`, `$left`.
   * @returns {() => void} removes the listener
   */
  on(event, callback, options) {
    checkText('the name of an event', event);
    if (!event.startsWith('$') && event !== '*') return this.#events.on(plainName(event), callback, options);
    this.core.known(LIFECYCLE, event, 'group');
    return this.#lifecycle.on(event, callback, options);
  }

  /** The next event of a `type`, as a message; of `$joined` and `$gap` what their listeners get. */
  once(event, options) {
    return once(this, event, options ?? {});
  }

  /** All messages from now on; `for await (const message of group)` is the same. */
  messages(options) {
    return messages(this, options ?? {});
  }

  /** Publishes an event to the group, where granted. */
  send(data, options) {
    return this.core.send(this.membership.name, data, options);
  }

  /** Ends this `join` and its listeners, once; the last one of a name leaves the group. */
  leave() {
    if (this.ended) return;
    this.ended = new GroupcastError('closed', `left ${this.membership.name}`);
    this.fail(this.ended);
    this.#events.clear();
    this.#lifecycle.clear();
    this.core.members.left(this);
  }

  // ===== for the membership =====

  /** @returns {boolean} whether it is awaited */
  resolve() {
    const waited = this.#ready !== null;
    this.#ready?.resolve(this.group);
    this.#ready = null;
    return waited;
  }

  /** @returns {boolean} whether it is awaited or read */
  fail(error) {
    const waited = this.#ready !== null || this.finishers.size > 0;
    this.#ready?.reject(error);
    this.#ready = null;
    for (const finish of [...this.finishers]) finish(error);
    return waited;
  }

  /** Something happened to the membership. */
  notify(event, value) {
    return !this.ended && this.#lifecycle.emit(event, value);
  }

  deliver(message) {
    if (this.ended || this.#seen(message.position)) return;
    this.#events.emit(plainName(message.event), message.data, message);
    this.notify('*', message);
  }

  /** Whether an event is not above the position that this holder gave. */
  #seen(position) {
    const { since } = this;
    if (!since || !position) return false;
    if (position.epoch === since.epoch && position.offset <= since.offset) return true;
    this.since = undefined;
    return false;
  }
}
