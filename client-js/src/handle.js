// One holder's share of a membership: its listeners, its promise, its place in the history.

import { checkText, isReserved } from './check.js';
import { deferred, within } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError } from './errors.js';
import { createListeners } from './listeners.js';

/** The listeners' own name for the end of a handle, which is told with the error. */
export const ENDED = Symbol('ended');

/** What `using` calls, in engines of any age. */
export const DISPOSE = Symbol.dispose ?? Symbol.for('Symbol.dispose');

const LIFECYCLE = ['*', '$joined', '$gap', '$left'];

/** `.` and `_` are equal in event names, as in Channels. */
const plainName = (event) => event.replaceAll('.', '_');

/**
 * @param {import('./membership.js').Membership} membership
 * @param {object} core
 * @param {object} [since] the position to go on from, until it has been answered
 * @param {number} timeout of `ready`, ms
 * @returns {object} `announced`, once a `$joined` has been sent to it
 */
export function createHandle(membership, core, since, timeout) {
  const { name } = membership;
  const listeners = createListeners();
  /** Why it ended, which is final. */
  let ended = null;
  let awaited = null;

  /**
   * The group as its holder sees it, made by each `client.join`. Proxies may stand in for it: nothing
   * in here needs `this`. The members are inherited, so that nobody reads `ready` by enumerating.
   */
  const group = Object.create({
    name,

    get state() {
      if (group.error) return 'closed';
      return membership.joined ? 'joined' : 'joining';
    },

    get position() {
      return membership.position;
    },

    /** Why `state` is `closed`. */
    get error() {
      return ended ?? membership.error;
    },

    /**
     * Resolves once joined; rejects when refused, left or closed, and with `timeout` when that takes
     * long, while the client goes on trying.
     */
    get ready() {
      // May fail immediately.
      if (group.state === 'joining') core.link.connect();
      const { promise } = (awaited ??= deferred());
      if (group.state === 'joined') handle.fulfil();
      if (group.state === 'closed') handle.fail(group.error, true);
      return within(promise, timeout, DEVELOPMENT ? `${name} was not joined` : name);
    },

    /**
     * Listens to events by their `type`, to all (`*`: the message alone), or to what happens to the
     * membership: `$joined`, `$gap`, `$left`.
     * @returns {() => void} removes the listener
     */
    on(event, callback, options) {
      checkText('event', event);
      if (isReserved(event)) core.known(LIFECYCLE, event);
      return listeners.on(plainName(event), callback, options);
    },

    /** Publishes an event to the group, where granted. */
    send: (data, options) => core.send(name, data, options),

    /** Ends this `join` and its listeners, once; the last one of a name leaves the group. */
    leave() {
      if (ended) return;
      ended = new GroupcastError('closed', DEVELOPMENT && `left ${name}`);
      handle.fail(ended);
      listeners.clear();
      core.members.left(handle);
    },

    [DISPOSE]: () => group.leave(),
    ...core.loops?.(() => handle),
  });

  const handle = {
    group,
    membership,
    core,
    since,
    listeners,
    /** @returns {boolean} whether it is awaited */
    fulfil() {
      const waited = awaited;
      awaited = null;
      waited?.fulfil(group);
      return waited;
    },

    /** @returns {boolean} whether it is awaited or read */
    fail(error, quiet) {
      const noticed = listeners.emit(ENDED, error) || awaited;
      awaited?.refuse(error);
      awaited = null;
      return (!quiet && handle.notify('$left', { reason: error.message, error })) || noticed;
    },

    /** Something happened to the membership. */
    notify: (event, value) => !ended && listeners.emit(event, value),

    deliver(message) {
      const { since } = handle;
      const { position } = message;
      if (ended) return;
      if (since && position) {
        // Not above the position that this holder gave.
        if (position.epoch === since.epoch && position.offset <= since.offset) return;
        handle.since = undefined;
      }
      // No sender can pretend what happens to the membership.
      if (!isReserved(message.event)) listeners.emit(plainName(message.event), message.data, message);
      handle.notify('*', message);
    },
  };

  return handle;
}
