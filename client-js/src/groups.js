// All groups of a client: joins in batches, rejoins with positions, sorts what arrives by group.

import { Backoff } from './backoff.js';
import { GroupcastError } from './errors.js';
import { Membership } from './membership.js';
import { batches, byteLength } from './protocol.js';
import { Recent } from './recent.js';

/** From the last `leave` to its frame: a page that swaps components leaves and joins at once. */
const LINGER_MS = 250;

export class Groups {
  #client;
  #link;
  #members = new Map();
  #leaving = new Set();
  #lingers = new Map();
  #recent = new Recent();
  #scheduled = false;
  // Names refused for now, and when they are asked for again.
  #postponed = new Set();
  #retry;
  #backoff = new Backoff();

  /**
   * @param {object} client what groups publish through
   * @param {{live(): boolean, maxBytes: number,
   *   ask(frame: object, answer: (frame: object) => void): void}} link to the connection of the day
   */
  constructor(client, link) {
    this.#client = client;
    this.#link = link;
  }

  /** The groups held by the application or joined by the server. */
  all() {
    return new Map([...this.#members].map(([name, { group }]) => [name, group]));
  }

  join(name, { since } = {}) {
    const member = this.#members.get(name) ?? this.#create(name);
    clearTimeout(this.#lingers.get(name));
    this.#lingers.delete(name);
    member.refCount += 1;
    if (since && !member.position) member.position = { epoch: since.epoch, offset: since.offset };
    if (member.state === 'closed') member.reopen();
    this.#schedule();
    return member.group;
  }

  leave(name) {
    const member = this.#members.get(name);
    if (!member || member.refCount === 0) return;
    member.refCount -= 1;
    if (member.refCount > 0) return;
    member.forget();
    this.#lingers.set(name, setTimeout(() => this.#drop(name), LINGER_MS));
  }

  /** Positions of what the server had joined, for `hello`, as many as fit into `maxBytes`. */
  since(maxBytes) {
    const since = {};
    let room = maxBytes;
    for (const { name, byServer, position } of this.#members.values()) {
      if (!byServer || !position) continue;
      room -= byteLength(JSON.stringify([name, position])) + 1;
      if (room < 0) break;
      since[name] = position;
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
      if (member.refCount === 0) this.#members.delete(name);
    }
    const notifications = standings.map((standing) => this.#byServer(standing));
    this.#flush();
    return notifications;
  }

  /** The connection is gone; memberships are wanted as before. */
  lost() {
    clearTimeout(this.#retry);
    this.#postponed.clear();
    this.#leaving.clear();
    for (const name of [...this.#lingers.keys()]) this.#drop(name);
    for (const member of this.#members.values()) {
      member.asked = null;
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
      if (type === 'joined') this.#byServer(standing)();
      else this.#removed(standing.group, reason);
    }
  }

  gap(frame) {
    const member = this.#members.get(frame.group);
    if (member?.state === 'joined') member.gap(frame);
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
    const member = new Membership(name, this.#client);
    this.#members.set(name, member);
    return member;
  }

  #byServer({ group, error, ...standing }) {
    const member = this.#members.get(group) ?? this.#create(group);
    member.byServer = !error;
    if (!error) return member.joined(standing);
    if (member.refCount === 0) this.#members.delete(group);
    // What may be had later is asked for as the application's own join.
    return () => error.retry || member.close(GroupcastError.from(error));
  }

  #removed(name, reason) {
    const member = this.#members.get(name);
    if (!member) return;
    member.byServer = false;
    if (member.refCount === 0) this.#members.delete(name);
    member.close(new GroupcastError('left', reason ?? 'removed by the server'));
  }

  #drop(name) {
    clearTimeout(this.#lingers.get(name));
    this.#lingers.delete(name);
    const member = this.#members.get(name);
    // What the server joined stays joined: the application only stopped listening.
    if (!member || member.byServer) return;
    if (member.state === 'joined' || member.asked !== null) {
      this.#leaving.add(name);
      this.#schedule();
    }
    this.#members.delete(name);
    member.left();
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
    // Leaves first: a group left and joined again within one turn ends joined.
    for (const groups of this.#batches([...this.#leaving].map((group) => ({ group })))) {
      this.#link.ask({ type: 'leave', groups }, () => {});
    }
    this.#leaving.clear();
    const wanted = [...this.#members.values()].filter(
      ({ state, asked, refCount }) => state === 'joining' && asked === null && refCount > 0,
    );
    const entries = wanted.map(({ name, position: since }) => ({ group: name, since }));
    for (const groups of this.#batches(entries)) this.#ask(groups);
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
      for (const standing of standings) this.#answered(standing, token);
    });
  }

  #answered({ group, error, ...standing }, token) {
    const member = this.#members.get(group);
    // Left, or left and joined again, since it was asked.
    if (member?.asked !== token) return;
    if (!error) {
      this.#backoff.reset();
      member.joined(standing)();
    } else if (error.retry) {
      this.#postpone(group);
    } else {
      member.close(GroupcastError.from(error));
    }
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
