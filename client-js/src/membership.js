// What the client knows of one group: who wants it, where it stands, what was seen of it.

import { deferred } from './deferred.js';
import { GroupcastError } from './errors.js';
import { Group } from './group.js';
import { Listeners } from './listeners.js';

/** `.` and `_` are equal in event names, as in Channels; names with `$` are the client's own. */
const plainName = (event) => event.replaceAll('.', '_');

export class Membership {
  /** @type {'joining' | 'joined' | 'closed'} */
  state = 'joining';
  /** How many `join`s of the application have not been followed by a `leave`. */
  refCount = 0;
  /** Whether the gateway put the connection there by itself. */
  byServer = false;
  /** Id of the `join` under way on this connection: answers to older ones don't count. */
  asked = null;
  /** @type {{epoch: string, offset: number} | undefined} of the last event seen */
  position;
  error = null;
  /** Closed by the end of the client, not by a refusal: comes back with it. */
  suspended = false;

  #listeners = new Listeners();
  #joinedBefore = false;
  #replayedTo = 0;
  #settle;

  constructor(name, client) {
    this.name = name;
    this.#renewReady();
    this.group = new Group(this, client);
  }

  on(event, callback, options) {
    return this.#listeners.on(plainName(event), callback, options);
  }

  /** Wanted (again), and not known to be joined. */
  reopen() {
    if (this.state === 'closed') this.#renewReady();
    this.state = 'joining';
    this.asked = null;
    this.error = null;
    this.suspended = false;
  }

  /**
   * The gateway confirmed the join.
   * @returns {() => void} notifies the listeners, later, once the client is consistent
   */
  joined({ epoch, offset, recovered }) {
    this.asked = null;
    // Held all along (the server joined while the request was under way): nothing has changed.
    if (this.state === 'joined' && recovered === undefined) return () => {};
    const mayHaveMissed = recovered !== true && (this.#joinedBefore || this.position !== undefined);
    const since = this.position;
    this.state = 'joined';
    this.error = null;
    this.#joinedBefore = true;
    this.#replayedTo = recovered ? offset : 0;
    if (!recovered || !since) this.position = epoch === undefined ? undefined : { epoch, offset };
    this.#settle.resolve(this.group);
    return () => {
      this.#emit('$joined', { recovered: recovered === true, position: this.position });
      if (!mayHaveMissed) return;
      const lost = since && since.epoch === epoch ? offset - since.offset : undefined;
      if (lost === 0) return;
      this.#emit('$gap', { reason: 'reconnect', possible: lost === undefined, lost, epoch });
    };
  }

  /** Not a member any more, for a reason that joining again by itself would meet again. */
  close(error, suspended = false) {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.asked = null;
    this.error = error;
    this.suspended = suspended;
    this.#settle.reject(error);
    if (!suspended) this.#emit('$left', { reason: error.message, error });
  }

  /** The last holder left: listeners go, so that a later join starts without old ones. */
  forget() {
    this.#listeners.clear();
  }

  /** Gone for good; a later join makes a new one. */
  left() {
    this.state = 'closed';
    this.error = new GroupcastError('closed', `left ${this.name}`);
    this.#settle.reject(this.error);
  }

  /** @returns {object | null} the message, or `null` for what was seen already */
  accept({ offset, id, data }) {
    const message = { group: this.name, event: data.type, data, recovered: false };
    if (offset === undefined || !this.position) return { ...message, id };
    const { epoch, offset: last } = this.position;
    if (offset <= last) return null;
    this.position = { epoch, offset };
    if (offset > last + 1) {
      const gap = { epoch, from: last + 1, to: offset - 1, lost: offset - last - 1 };
      this.#emit('$gap', { reason: 'unannounced', possible: false, ...gap });
    }
    return { ...message, position: this.position, recovered: offset <= this.#replayedTo };
  }

  /** A loss announced by the gateway. */
  gap({ reason, epoch, from, to, lost, possible = false }) {
    if (epoch !== undefined) this.position = { epoch, offset: to ?? 0 };
    this.#emit('$gap', { reason, possible, lost, epoch, from, to });
  }

  deliver(message) {
    if (this.state !== 'joined') return;
    this.#emit(plainName(message.event), message.data, message);
    this.#emit('*', message);
  }

  #emit(event, ...args) {
    this.#listeners.emit(event, ...args);
  }

  #renewReady() {
    this.#settle = deferred();
    this.ready = this.#settle.promise;
  }
}
