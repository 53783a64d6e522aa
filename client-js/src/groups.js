// All groups of a client: joins in batches, rejoins with positions, sorts what arrives by group.

import { createBackoff } from './backoff.js';
import { clock } from './clock.js';
import { DEVELOPMENT } from './development.js';
import { errorFrom } from './errors.js';
import { createHandle } from './handle.js';
import {
  accept, close, createMembership, deliver, isHeld, isParked, joined, moved, reopen, wantedSince, welcomeNew,
} from './membership.js';
import { batches, sizeOf } from './protocol.js';
import { createRecent } from './recent.js';
import { after } from './timer.js';

/** From the last `leave` to its frame: a page that swaps components leaves and joins at once. */
const LINGER_MS = 250;
/** With more groups than this, those that linger give way at once: the gateway's default limit is 128. */
const MOST_LINGERING = 100;
/** In place of the `join` in flight: refused for now, and retried later, or once groups have been left. */
const POSTPONED = 1;
const CROWDED = 2;

/**
 * @param {object} core
 * @param {ReturnType<import('./connector.js').createConnector>} link to the current connection
 */
export function createGroups(core, link) {
  const members = new Map();
  const leaving = new Set();
  // Memberships without handles, until they are left, and since when; in the order of the last `leave`s.
  const idle = new Map();
  const isNew = createRecent();
  const backoff = createBackoff();
  let idleTimer;
  let retryTimer;
  let scheduled = false;

  // ===== memberships =====

  function memberOf(name) {
    let member = members.get(name);
    if (!member) members.set(name, (member = createMembership(name)));
    return member;
  }

  function handleOf(member, since, timeout) {
    const handle = createHandle(member, core, since, timeout);
    member.handles.add(handle);
    return handle;
  }

  /** What `client.groups` shows: listens, but does not keep the group. */
  function viewOf(member) {
    if (!member.view) {
      member.view = handleOf(member, undefined, core.patience);
      member.view.announced = member.joined;
    }
    return member.view;
  }

  /** One timer for all, so that those left together leave together. */
  function awaitIdle() {
    idleTimer ??= setTimeout(() => {
      idleTimer = undefined;
      // Timers may fire a little early.
      dropIdle(clock() + 5 - LINGER_MS);
      if (idle.size > 0) awaitIdle();
    }, LINGER_MS);
  }

  /** Leaves groups without handles since `until`, by the clock. */
  function dropIdle(until = Infinity) {
    for (const [member, idleSince] of idle) {
      if (idleSince > until) continue;
      idle.delete(member);
      // What the server joined stays joined: the application only stopped listening.
      if (member.byServer) continue;
      if (member.joined || member.asked) {
        leaving.add(member.name);
        schedule();
      }
      forget(member);
    }
  }

  /** Removed; a later join creates a new one. */
  function forget(member) {
    members.delete(member.name);
    idle.delete(member);
    member.view?.group.leave();
  }

  function notByServer(member) {
    member.byServer = false;
    if (!isHeld(member)) forget(member);
  }

  function byServer({ group, error, ...standing }) {
    const member = memberOf(group);
    member.byServer = true;
    if (!error) return welcomed(member, standing);
    notByServer(member);
    // What may be had later is asked for as the application's own join.
    return error.retry ? [] : [() => refuse(member, error)];
  }

  function welcomed(member, standing) {
    const notifications = joined(member, standing);
    for (const handle of member.handles) if (handle.fulfil()) link.gate.hold();
    return notifications;
  }

  function announce(notifications) {
    for (const notify of notifications) link.gate.run(notify);
  }

  /** Refused, or removed by the server. */
  function refuse(member, standing, quiet) {
    const error = errorFrom(standing);
    if (close(member, error) || quiet) return;
    const { code, message } = error;
    const verb = code === 'left' ? 'was left by the gateway' : 'was not joined';
    core.printOnce(DEVELOPMENT ? `${member.name} ${verb}: ${message}` : `${code} ${member.name}`, error);
  }

  // ===== asking =====

  /** Joins of one turn of the event loop travel together. */
  function schedule(run = queueMicrotask) {
    if (scheduled) return;
    scheduled = true;
    run(() => {
      scheduled = false;
      flush();
    });
  }

  function flush() {
    if (!link.live()) return;
    // A list that scrolls changes groups at every frame: what waits travels together, too.
    const pause = link.pacer.pause();
    if (pause > 0) return schedule((run) => after(pause, run));
    const wanted = [...members.values()].filter((member) => (
      !member.joined && !member.error && !member.asked && isHeld(member)
    ));
    // Near the usual limit, lingering groups would take the places of wanted ones.
    if (members.size > MOST_LINGERING) dropIdle();
    // Leaves first: a group left and joined again within one turn ends joined.
    const left = [...leaving].map((group) => ({ group }));
    leaving.clear();
    ask('leave', left, (answer, { length }) => unpark(length));
    const asked = {};
    const entries = wanted.map((member) => {
      member.asked = asked;
      return entryOf(member);
    });
    ask('join', entries, (answer, sent) => {
      const standings = answer.groups ?? sent.map(({ group }) => ({ group, error: answer }));
      announce(standings.flatMap((standing) => answered(standing, asked)));
    });
  }

  function ask(type, entries, answer) {
    for (const groups of batches(entries, link.largest)) {
      link.ask({ type, groups }, (frame) => answer(frame, groups));
    }
  }

  function entryOf(member) {
    const entry = { group: member.name, since: wantedSince(member) };
    // Without its position rather than not at all: the answer then makes a `$gap`.
    if (sizeOf(entry) + 64 > link.largest) delete entry.since;
    member.sentSince = entry.since;
    return entry;
  }

  function answered({ group, error, ...standing }, asked) {
    const member = members.get(group);
    // Left, or left and joined again, since it was asked.
    if (member?.asked !== asked) return [];
    if (!error) {
      backoff.attempt = 0;
      return welcomed(member, standing);
    }
    if (isParked({ error })) {
      // What lingers makes room.
      dropIdle();
      if (leaving.size > 0) {
        member.asked = CROWDED;
        return [];
      }
    } else if (error.retry) {
      member.asked = POSTPONED;
      retryLater();
      return [];
    // The place that it was given is another's.
    } else unpark(1);
    return [() => refuse(member, error)];
  }

  /** Places became free: as many of those that found none are asked for again. */
  function unpark(places) {
    const parked = [...members.values()].filter((member) => (
      isHeld(member) && (isParked(member) || member.asked === CROWDED)
    )).slice(0, places);
    for (const member of parked) reopen(member);
    schedule();
  }

  function retryLater() {
    retryTimer ??= after(backoff.next(), () => {
      retryTimer = undefined;
      for (const member of members.values()) if (member.asked === POSTPONED) member.asked = undefined;
      flush();
    });
  }

  return {
    /** The groups held by the application or joined by the server. */
    all: () => new Map([...members].map(([name, member]) => [name, viewOf(member).group])),

    join(name, since, timeout) {
      const member = memberOf(name);
      idle.delete(member);
      const handle = handleOf(member, since, timeout);
      if (link.state === 'closed') close(member, link.error, true);
      else if (member.error) reopen(member);
      if (member.joined) {
        // Its listeners are added in this turn, or after `ready`.
        link.gate.hold();
        announce(welcomeNew(member));
      } else schedule();
      return handle;
    },

    /** Every `join` of a name is undone. */
    leave(name) {
      for (const handle of members.get(name)?.handles ?? []) handle.group.leave();
    },

    /** A handle ended. */
    left(handle) {
      const member = handle.membership;
      member.handles.delete(handle);
      if (handle === member.view) member.view = undefined;
      else if (!isHeld(member) && members.get(member.name) === member) {
        idle.set(member, clock());
        awaitIdle();
      }
    },

    // ===== for the connection =====

    /**
     * Positions for `hello`, as many as fit into `room` bytes: of what the server had joined, and new
     * ones.
     * @returns {object | undefined}
     */
    since(room) {
      let since;
      let left = room;
      for (const member of members.values()) {
        const wanted = wantedSince(member);
        // What the application asks for first may turn out to be joined by the server.
        if (!wanted || (member.position && !member.byServer)) continue;
        left -= sizeOf([member.name, wanted]) + 1;
        if (left < 0) break;
        since ??= {};
        since[member.name] = member.sentSince = wanted;
      }
      return since;
    },

    /** A connection begins: takes the server's joins, asks for the rest. */
    welcomed(standings) {
      const named = new Set(standings.map(({ group }) => group));
      for (const [name, member] of members) {
        if (named.has(name)) continue;
        member.sentSince = undefined;
        if (isParked(member)) reopen(member);
        notByServer(member);
      }
      announce(standings.flatMap(byServer));
      flush();
    },

    /** The connection has ended; memberships stay wanted. */
    disconnected() {
      clearTimeout(retryTimer);
      retryTimer = undefined;
      dropIdle();
      leaving.clear();
      for (const member of members.values()) {
        member.asked = member.sentSince = undefined;
        if (member.joined) reopen(member);
      }
    },

    /** The client ends. */
    suspend(error) {
      for (const member of members.values()) close(member, error, true);
    },

    /** The client that ended with `error` begins again. */
    resume(error) {
      for (const member of members.values()) if (member.error === error) reopen(member);
    },

    /** `joined` and `left` by the server. */
    changed({ type, groups, reason }) {
      if (type === 'joined') return announce(groups.flatMap(byServer));
      for (const { group } of groups) {
        const member = members.get(group);
        // Of a membership before the one that is being asked for, whose answer will tell.
        if (!member?.joined) continue;
        // What only the server had joined may go without a word.
        refuse(member, { code: 'left', message: reason }, !isHeld(member));
        notByServer(member);
      }
      unpark(groups.length);
    },

    /** A `gap`, or the `position` of what is not for this connection. */
    moved(frame) {
      const member = members.get(frame.group);
      if (member?.joined) moved(member, frame);
    },

    /** @returns {object | null} the message for the client's own listeners */
    event(frame) {
      const { group, id, data } = frame;
      if (id && !isNew(id)) return null;
      if (!group) return { event: data.type, data, id, recovered: false };
      const member = members.get(group);
      // Before `joined`, an event is of the membership before this one.
      if (!member?.joined) return null;
      const message = accept(member, frame);
      if (message) deliver(member, message);
      return message;
    },
  };
}
