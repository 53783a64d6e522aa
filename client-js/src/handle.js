// One holder's share of a membership: its listeners, its promise, its place in the history.

import { checkText } from './check.js';
import { GroupcastError } from './errors.js';
import { Group } from './group.js';
import { Listeners } from './listeners.js';
import { deferred, rejected, within } from './deferred.js';

const LIFECYCLE = ['*', '$joined', '$gap', '$left'];

/** `.` and `_` are equal in event names, as in Channels. */
const plainName = (event) => event.replaceAll('.', '_');

export class Handle {
  /** What ended it; it never comes back. */
  ended = null;
  /** Whether a `$joined` has been sent to it. */
  announced = false;
  /** Run with the error when the group is refused, left or closed: ends iterators and `once`. */
  finishers = new Set();

  // Events and what happens to the membership never share a name: no sender can pretend the latter.
  #events = new Listeners();
  #lifecycle = new Listeners();
  #ready = null;

  /**
   * @param {import('./membership.js').Membership} membership
   * @param {{since?: object, timeout: number, wanted(): void, leave(handle: Handle): void,
   *   warn(message: string): void, send: Function}} options `since`: the position to go on from, until
   *   it has been answered; `wanted` connects
   */
  constructor(membership, options) {
    this.membership = membership;
    this.options = options;
    this.since = options.since;
    this.group = new Group(this);
  }

  get state() {
    return this.ended ? 'closed' : this.membership.state;
  }

  get error() {
    return this.ended ?? this.membership.error;
  }

  get ready() {
    const { state, error, options } = this;
    if (state === 'joined') return Promise.resolve(this.group);
    if (state === 'closed') return rejected(error);
    options.wanted();
    // Wanting may have failed at once.
    if (this.state === 'closed') return rejected(this.error);
    this.#ready ??= deferred();
    return within(this.#ready.promise, options.timeout, `${this.membership.name} was not joined`);
  }

  on(event, callback, options) {
    checkText('the name of an event', event);
    if (!event.startsWith('$') && event !== '*') return this.#events.on(plainName(event), callback, options);
    if (!LIFECYCLE.includes(event)) this.options.warn(`group.on: ${event} is none of ${LIFECYCLE.join(' ')}`);
    return this.#lifecycle.on(event, callback, options);
  }

  /** @returns {boolean} whether somebody waits for it */
  resolve() {
    const waited = this.#ready !== null;
    this.#ready?.resolve(this.group);
    this.#ready = null;
    return waited;
  }

  /** @returns {boolean} whether somebody waits for it, or reads it */
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
    if (!this.ended) this.#lifecycle.emit('*', message);
  }

  /** Whether an event is not above the position that this holder gave. */
  #seen(position) {
    const { since } = this;
    if (!since || !position) return false;
    if (position.epoch === since.epoch && position.offset <= since.offset) return true;
    this.since = undefined;
    return false;
  }

  /** Its `leave`, once and for all; its listeners go with it. */
  leave() {
    if (this.ended) return;
    this.ended = new GroupcastError('closed', `left ${this.membership.name}`);
    this.fail(this.ended);
    this.#events.clear();
    this.#lifecycle.clear();
    this.options.leave(this);
  }
}
