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

export class Groups {
  #core;
  #link;
  #members = new Map();
  #leaving = new Set();
  // Names that nobody wants any more, until they are left; in the order of the last `leave`s.
  #idle = new Set();
  #idleTimer;
  #recent = new Recent();
  #scheduled = false;
  // Names refused for now, and when they are asked for again.
  #postponed = new Set();
  #retry;
  #backoff = new Backoff();

  /**
   * @param {{wanted(): void, send: Function, warn(kind: string, message: string): void}} core
   * @param {import('./connector.js').Connector} link to the connection of the day
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
    const member = this.#members.get(name) ?? this.#create(name);
    this.#idle.delete(name);
    const handle = this.#handle(member, since, timeout);
    member.refCount += 1;
    if (this.#link.state === 'closed') member.close(this.#link.error, true);
    else if (member.state === 'closed') member.reopen();
    if (member.state === 'joined') this.#welcomeSoon(member);
    else this.#schedule();
    return handle;
  }

  /** Every `join` of a name is undone. */
  leave(name) {
    for (const handle of [...(this.#members.get(name)?.handles ?? [])]) handle.leave();
  }

  #handle(member, since, timeout) {
    const handle = new Handle(member, {
      since,
      timeout,
      wanted: () => this.#core.wanted(),
      send: (...args) => this.#core.send(...args),
      warn: (message) => this.#core.warn(message, message),
      leave: () => this.#left(member, handle),
    });
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

  #left(member, handle) {
    member.handles.delete(handle);
    if (handle === member.view) {
      member.view = undefined;
      return;
    }
    member.refCount -= 1;
    if (member.refCount > 0 || this.#members.get(member.name) !== member) return;
    member.idleSince = clock();
    this.#idle.add(member.name);
    this.#awaitIdle();
  }

  /** One timer for all, so that those left together leave together. */
  #awaitIdle() {
    if (this.#idleTimer || this.#idle.size === 0) return;
    const [oldest] = this.#idle;
    const rest = this.#members.get(oldest).idleSince + LINGER_MS - clock();
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      // Timers may fire a little early.
      const now = clock() + 5;
      for (const name of [...this.#idle]) {
        if (this.#members.get(name).idleSince + LINGER_MS <= now) this.#drop(name);
      }
      this.#awaitIdle();
    }, Math.max(0, rest));
  }

  /** Positions for `hello`, as many as fit into `maxBytes`: of what the server had joined, and new ones. */
  since(maxBytes) {
    const since = {};
    let room = maxBytes;
    for (const member of this.#members.values()) {
      const { name, byServer, position, wantedSince } = member;
      // What the application asks for first may turn out to be joined by the server.
      if (!wantedSince || (position && !byServer)) continue;
      room -= byteLength(JSON.stringify([name, wantedSince])) + 1;
      if (room < 0) break;
      since[name] = wantedSince;
      member.sentSince = wantedSince;
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
      member.byServer = false;
      member.sentSince = undefined;
      if (member.parked) member.reopen();
      if (member.refCount === 0) this.#forget(member);
    }
    const notifications = standings.flatMap((standing) => this.#byServer(standing));
    this.#flush();
    return notifications;
  }

  /** The connection is gone; memberships are wanted as before. */
  lost() {
    clearTimeout(this.#retry);
    this.#postponed.clear();
    for (const name of [...this.#idle]) this.#drop(name);
    this.#leaving.clear();
    for (const member of this.#members.values()) {
      member.asked = null;
      member.sentSince = undefined;
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

  /** `joined` and `left` that nobody asked for. */
  changed({ type, groups, reason }) {
    for (const standing of groups) {
      if (type === 'joined') this.#announce(this.#byServer(standing));
      else this.#removed(standing.group, reason);
    }
    if (type === 'left') this.#unpark(groups.length);
  }

  gap(frame) {
    const member = this.#members.get(frame.group);
    if (member?.state === 'joined') member.gap(frame);
  }

  position(frame) {
    const member = this.#members.get(frame.group);
    if (member?.state === 'joined') member.passedOver(frame);
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

  #create(name) {
    const member = new Membership(name);
    this.#members.set(name, member);
    return member;
  }

  #byServer({ group, error, ...standing }) {
    const member = this.#members.get(group) ?? this.#create(group);
    member.byServer = !error;
    if (!error) return this.#joined(member, standing);
    if (member.refCount === 0) this.#forget(member);
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

  /** For who joins what is held; its listeners are added in this turn, or after `ready`. */
  #welcomeSoon(member) {
    this.#link.gate.hold();
    this.#announce(member.welcomeNew());
  }

  #refuse(member, error) {
    const noticed = member.close(GroupcastError.from(error));
    if (!noticed) this.#core.warn(`refused ${member.name}`, `${member.name} was not joined: ${error.message}`);
  }

  #removed(name, reason = 'removed by the server') {
    const member = this.#members.get(name);
    if (!member) return;
    member.byServer = false;
    if (member.refCount === 0) this.#forget(member);
    member.close(new GroupcastError('left', reason));
  }

  #drop(name) {
    this.#idle.delete(name);
    const member = this.#members.get(name);
    // What the server joined stays joined: the application only stopped listening.
    if (!member || member.byServer || member.refCount > 0) return;
    if (member.state === 'joined' || member.asked !== null) {
      this.#leaving.add(name);
      this.#schedule();
    }
    this.#forget(member);
  }

  /** Gone for good; a later join makes a new one. */
  #forget(member) {
    this.#members.delete(member.name);
    this.#idle.delete(member.name);
    member.view?.leave();
  }

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
      ({ state, asked, refCount }) => state === 'joining' && asked === null && refCount > 0,
    );
    // What lingers would take the places of what is wanted.
    if (wanted.length > 0) for (const name of [...this.#idle]) this.#drop(name);
    // Leaves first: a group left and joined again within one turn ends joined.
    for (const groups of this.#batches([...this.#leaving].map((group) => ({ group })))) {
      this.#link.ask({ type: 'leave', groups }, (answer) => this.#unpark(answer.groups?.length ?? 0));
    }
    this.#leaving.clear();
    for (const groups of this.#batches(wanted.map((member) => this.#entry(member)))) this.#ask(groups);
  }

  #entry(member) {
    const entry = { group: member.name, since: member.wantedSince };
    // Without its position rather than not at all: the answer then makes a `$gap`.
    if (byteLength(JSON.stringify(entry)) + 64 > this.#link.maxBytes) delete entry.since;
    member.sentSince = entry.since;
    return entry;
  }

  #batches(entries) {
    return batches(entries, this.#link.maxBytes);
  }

  #ask(groups) {
    const token = {};
    for (const { group } of groups) this.#members.get(group).asked = token;
    this.#link.ask({ type: 'join', groups }, (answer) => {
      const refusal = answer.type === 'error' ? answer : undefined;
      const standings = refusal ? groups.map(({ group }) => ({ group, error: refusal })) : answer.groups;
      const notifications = standings.flatMap((standing) => this.#answered(standing, token));
      this.#announce(notifications);
    });
  }

  #answered({ group, error, ...standing }, token) {
    const member = this.#members.get(group);
    // Left, or left and joined again, since it was asked.
    if (member?.asked !== token) return [];
    if (!error) {
      this.#backoff.reset();
      return this.#joined(member, standing);
    }
    if (error.retry) {
      this.#postpone(group);
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

  #postpone(name) {
    this.#postponed.add(name);
    if (this.#postponed.size > 1) return;
    this.#retry = setTimeout(() => {
      for (const waiting of this.#postponed) {
        const member = this.#members.get(waiting);
        if (member?.state === 'joining') member.asked = null;
      }
      this.#postponed.clear();
      this.#flush();
    }, this.#backoff.next());
  }
}
