// All groups of a client: joins in batches, rejoins with positions, sorts what arrives by group.

import { Backoff } from './backoff.js';
import { clock } from './clock.js';
import { GroupcastError } from './errors.js';
import { Handle } from './handle.js';
import { Membership } from './membership.js';
import { batches, byteLength } from './protocol.js';
import { Recent } from './recent.js';

/** From the last `leave` to its frame: a page that swaps components leaves and joins at once. */
const LINGER_MS = 250;
/** In place of the `join` in flight: refused for now, and retried later. */
const POSTPONED = {};

export class Groups {
  #core;
  #link;
  #members = new Map();
  #leaving = new Set();
  // Memberships without handles, until they are left; in the order of the last `leave`s.
  #idle = new Set();
  #idleTimer;
  #recent = new Recent();
  #scheduled = false;
  #retry;
  #backoff = new Backoff();

  /**
   * @param {import('./core.js').Core} core
   * @param {import('./connector.js').Connector} link to the current connection
   */
  constructor(core, link) {
    this.#core = core;
    this.#link = link;
  }

  /** The groups held by the application or joined by the server. */
  all() {
    return new Map([...this.#members].map(([name, member]) => [name, this.#view(member).group]));
  }

  join(name, since, timeout) {
    const member = this.#member(name);
    this.#idle.delete(member);
    const handle = this.#handle(member, since, timeout);
    member.refCount += 1;
    if (this.#link.state === 'closed') member.close(this.#link.error, true);
    else if (member.state === 'closed') member.reopen();
    if (member.state === 'joined') {
      // Its listeners are added in this turn, or after `ready`.
      this.#link.gate.hold();
      this.#announce(member.welcomeNew());
    } else this.#schedule();
    return handle;
  }

  /** Every `join` of a name is undone. */
  leave(name) {
    for (const handle of [...(this.#members.get(name)?.handles ?? [])]) handle.leave();
  }

  /** A handle ended. */
  left(handle) {
    const member = handle.membership;
    member.handles.delete(handle);
    if (handle === member.view) {
      member.view = undefined;
      return;
    }
    member.refCount -= 1;
    if (member.refCount > 0 || this.#members.get(member.name) !== member) return;
    member.idleSince = clock();
    this.#idle.add(member);
    this.#awaitIdle();
  }

  // ===== for the connection =====

  /** Positions for `hello`, as many as fit into `room` bytes: of what the server had joined, and new ones. */
  since(room) {
    const since = {};
    let left = room;
    for (const member of this.#members.values()) {
      const { name, byServer, position, wantedSince } = member;
      // What the application asks for first may turn out to be joined by the server.
      if (!wantedSince || (position && !byServer)) continue;
      left -= byteLength(JSON.stringify([name, wantedSince])) + 1;
      if (left < 0) break;
      since[name] = member.sentSince = wantedSince;
    }
    return since;
  }

  /**
   * A connection begins: takes the server's joins, asks for the rest.
   * @returns {Array<() => void>} notifications for the listeners
   */
  welcomed(standings) {
    const named = new Set(standings.map(({ group }) => group));
    for (const [name, member] of this.#members) {
      if (named.has(name)) continue;
      member.sentSince = undefined;
      if (member.parked) member.reopen();
      this.#notByServer(member);
    }
    const notifications = standings.flatMap((standing) => this.#byServer(standing));
    this.#flush();
    return notifications;
  }

  /** The connection has ended; memberships stay wanted. */
  lost() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#dropIdle();
    this.#leaving.clear();
    for (const member of this.#members.values()) {
      member.asked = member.sentSince = undefined;
      if (member.state === 'joined') member.reopen();
    }
  }

  /** The client ends. */
  suspend(error) {
    for (const member of this.#members.values()) member.close(error, true);
  }

  /** The client begins again. */
  resume() {
    for (const member of this.#members.values()) if (member.suspended) member.reopen();
  }

  /** `joined` and `left` by the server. */
  changed({ type, groups, reason = 'removed by the server' }) {
    for (const standing of groups) {
      if (type === 'joined') {
        this.#announce(this.#byServer(standing));
        continue;
      }
      const member = this.#members.get(standing.group);
      if (!member) continue;
      this.#notByServer(member);
      member.close(new GroupcastError('left', reason));
    }
    if (type === 'left') this.#unpark(groups.length);
  }

  /** A `gap`, or the `position` of what is not for this connection. */
  moved(frame) {
    const member = this.#members.get(frame.group);
    if (member?.state === 'joined') member.moved(frame);
  }

  /** @returns {object | null} the message for the client's own listeners */
  event(frame) {
    const { group, id, data } = frame;
    if (id !== undefined && !this.#recent.add(id)) return null;
    if (group === undefined) return { event: data.type, data, id, recovered: false };
    const member = this.#members.get(group);
    // Before `joined`, an event is of the membership before this one.
    if (member?.state !== 'joined') return null;
    const message = member.accept(frame);
    if (message) member.deliver(message);
    return message;
  }

  // ===== memberships =====

  #member(name) {
    let member = this.#members.get(name);
    if (!member) this.#members.set(name, (member = new Membership(name)));
    return member;
  }

  #handle(member, since, timeout) {
    const handle = new Handle(member, this.#core, since, timeout);
    member.handles.add(handle);
    return handle;
  }

  /** What `client.groups` shows: listens, but does not keep the group. */
  #view(member) {
    if (!member.view) {
      member.view = this.#handle(member, undefined, this.#core.timeout);
      member.view.announced = member.state === 'joined';
    }
    return member.view;
  }

  /** One timer for all, so that those left together leave together. */
  #awaitIdle() {
    if (this.#idleTimer || this.#idle.size === 0) return;
    const [{ idleSince }] = this.#idle;
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      // Timers may fire a little early.
      this.#dropIdle(clock() + 5 - LINGER_MS);
      this.#awaitIdle();
    }, Math.max(0, idleSince + LINGER_MS - clock()));
  }

  /** Leaves groups without handles since `until`, by the clock. */
  #dropIdle(until = Infinity) {
    for (const member of [...this.#idle]) {
      if (member.idleSince > until) continue;
      this.#idle.delete(member);
      // What the server joined stays joined: the application only stopped listening.
      if (member.byServer) continue;
      if (member.state === 'joined' || member.asked) {
        this.#leaving.add(member.name);
        this.#schedule();
      }
      this.#forget(member);
    }
  }

  /** Removed; a later join creates a new one. */
  #forget(member) {
    this.#members.delete(member.name);
    this.#idle.delete(member);
    member.view?.leave();
  }

  #notByServer(member) {
    member.byServer = false;
    if (member.refCount === 0) this.#forget(member);
  }

  #byServer({ group, error, ...standing }) {
    const member = this.#member(group);
    member.byServer = true;
    if (!error) return this.#joined(member, standing);
    this.#notByServer(member);
    // What may be had later is asked for as the application's own join.
    return error.retry ? [] : [() => this.#refuse(member, error)];
  }

  #joined(member, standing) {
    const notifications = member.joined(standing);
    let waited = false;
    for (const handle of member.handles) waited = handle.resolve() || waited;
    if (waited) this.#link.gate.hold();
    return notifications;
  }

  #announce(notifications) {
    for (const notify of notifications) this.#link.gate.run(notify);
  }

  #refuse(member, error) {
    const noticed = member.close(GroupcastError.from(error));
    if (!noticed) this.#core.warn(`refused ${member.name}`, `${member.name} was not joined: ${error.message}`);
  }

  // ===== asking =====

  /** Joins of one turn of the event loop travel together. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush() {
    if (!this.#link.live()) return;
    const wanted = [...this.#members.values()].filter(
      ({ state, asked, refCount }) => state === 'joining' && !asked && refCount > 0,
    );
    // Lingering groups would take the places of wanted ones.
    if (wanted.length > 0) this.#dropIdle();
    // Leaves first: a group left and joined again within one turn ends joined.
    const leaving = [...this.#leaving].map((group) => ({ group }));
    this.#leaving.clear();
    this.#ask('leave', leaving, ({ groups = [] }) => this.#unpark(groups.length));
    const asked = {};
    const entries = wanted.map((member) => {
      member.asked = asked;
      return this.#entry(member);
    });
    this.#ask('join', entries, (answer, sent) => {
      const standings = answer.groups ?? sent.map(({ group }) => ({ group, error: answer }));
      this.#announce(standings.flatMap((standing) => this.#answered(standing, asked)));
    });
  }

  #ask(type, entries, answered) {
    for (const groups of batches(entries, this.#link.largest)) {
      this.#link.ask({ type, groups }, (answer) => answered(answer, groups));
    }
  }

  #entry(member) {
    const entry = { group: member.name, since: member.wantedSince };
    // Without its position rather than not at all: the answer then makes a `$gap`.
    if (byteLength(JSON.stringify(entry)) + 64 > this.#link.largest) delete entry.since;
    member.sentSince = entry.since;
    return entry;
  }

  #answered({ group, error, ...standing }, asked) {
    const member = this.#members.get(group);
    // Left, or left and joined again, since it was asked.
    if (member?.asked !== asked) return [];
    if (!error) {
      this.#backoff.reset();
      return this.#joined(member, standing);
    }
    if (error.retry) {
      member.asked = POSTPONED;
      this.#retryLater();
      return [];
    }
    return [() => {
      this.#refuse(member, error);
      member.parked = error.code === 'too_many_groups';
    }];
  }

  /** Places became free: as many of those that found none are asked for again. */
  #unpark(places) {
    const parked = [...this.#members.values()].filter((member) => member.parked).slice(0, places);
    for (const member of parked) member.reopen();
    if (parked.length > 0) this.#schedule();
  }

  #retryLater() {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      for (const member of this.#members.values()) if (member.asked === POSTPONED) member.asked = undefined;
      this.#flush();
    }, this.#backoff.next());
  }
}
