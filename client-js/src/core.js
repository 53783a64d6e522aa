// The implementation of a client: connects its connection, its groups and its requests.

import { checkEvent, checkName, checkOptions, checkSince, checkText, checkWait } from './check.js';
import { createConnector } from './connector.js';
import { Answer, onAbort, within } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError, errorFrom, isFailure } from './errors.js';
import { createGroups } from './groups.js';
import { createListeners, guarded } from './listeners.js';
import { createOutbox } from './outbox.js';
import { inBrowser } from './wake.js';

const EVENTS = ['state', 'waiting', 'closed', 'error', 'event', 'gap'];
/** Most warnings that one client prints, each once. */
const MOST_WARNINGS = 50;

let saidNotConnecting = false;

/** @param {import('./client.js').GroupcastClient} client */
export function createCore(client, url, options, loops) {
  const { timeout: patience = 10_000 } = options;
  const listeners = createListeners();
  const warned = new Set();
  let stateHeard;
  checkWait(patience);
  if (DEVELOPMENT) checkOptions(options);

  const core = {
    /** The `timeout` where none is given, ms. */
    patience,

    loops,

    // ===== for the application =====

    /**
     * Connects, and stays so until `close`. Resolves when first connected; rejects when closed, and
     * with `timeout` when that takes long, while the client goes on trying.
     */
    connect(given) {
      const { timeout = patience } = given ?? {};
      checkWait(timeout);
      return within(link.connect(), timeout, DEVELOPMENT && 'not connected');
    },

    /** Tries now instead of waiting, or makes sure that the connection lives. Starts again after `closed`. */
    reconnect() {
      link.wake();
      link.connect();
    },

    /** Joins a group, now or when connected. Each join has its own handle. Connects if idle. */
    join(name, given) {
      const { since, signal, timeout = patience } = given ?? {};
      checkName(name);
      checkWait(timeout, signal);
      const { group } = groups.join(name, checkSince(since), timeout);
      onAbort(signal, group.leave);
      joinedSoon();
      return group;
    },

    /**
     * Publishes an event to a group, joined or not, where granted. Repeated after a lost connection
     * with the same `key`, so that it is published once.
     */
    send(group, data, given) {
      const { echo = true, key = newKey(), ...rest } = given ?? {};
      return request(DEVELOPMENT ? `send to ${String(group)}` : 'send', rest, () => {
        checkName(group);
        checkEvent(data);
        return { type: 'send', group, data, echo: echo ? undefined : false, key };
      });
    },

    /** Asks the back end. Repeated after a lost connection only with a `key`. */
    call(name, data, given) {
      const { key, ...rest } = given ?? {};
      return request(DEVELOPMENT ? `call ${String(name)}` : 'call', rest, () => {
        checkText('name', name);
        return { type: 'call', name, data, key };
      });
    },

    /** Listens to `state`, `waiting`, `closed`, `error`, `event` or `gap`; returns the remover. */
    on(event, callback, given) {
      core.known(EVENTS, event);
      return listeners.on(event, callback, given);
    },

    // ===== for groups and requests =====

    /** Prints a failure without a listener, once. */
    printOnce(message, cause = '') {
      if (options.warnings === false || warned.has(message) || warned.size >= MOST_WARNINGS) return;
      warned.add(message);
      console.warn(`groupcast: ${message}`, cause);
    },

    // ===== for the connection =====

    received(frame) {
      const { type, id, group, reason, lost, possible = false } = frame;
      if (type === 'event') deliver(groups.event(frame));
      else if (type === 'gap' || type === 'position') {
        if (group) groups.moved(frame);
        // Events of no group were missed: the client's own affair.
        else core.emit('gap', { reason, lost, possible });
      } else if (!id) {
        if (type === 'error') core.emit('error', errorFrom(frame));
        if (type === 'joined' || type === 'left') groups.changed(frame);
      }
    },

    emit(event, value) {
      const heard = listeners.emit(event, value);
      if (event === 'state') stateHeard = heard;
      else if (!heard) warnUnheard(event, value);
    },

    /** An unknown event name would never be emitted. */
    known(events, event) {
      if (events.includes(event)) return;
      const message = `on ${String(event)}`;
      core.printOnce(DEVELOPMENT ? `${message}: it is none of ${events.join(' ')}` : message);
    },
  };

  function warnUnheard(event, value) {
    const { code, reason, error, attempt, message } = value;
    if (event === 'error') core.printOnce(DEVELOPMENT ? `an error that nothing hears: ${message}` : message, value);
    // Closed by the gateway, or for lack of a token or a WebSocket; not by the application.
    if (event === 'closed' && isFailure(error)) {
      core.printOnce(DEVELOPMENT ? `closed with ${code}, for good: ${reason}` : `closed ${code}`, error);
    }
    // Without a limit there was no `welcome`.
    if (attempt && !link.pacer.mostOpen && !stateHeard) {
      core.printOnce(`no connection to ${url}${DEVELOPMENT ? ' yet; is the address right, and the gateway running?' : ''}`, `${code}: ${reason}`);
    }
  }

  /** A page that is rendered on a server joins, too, and must not dial from there. */
  function joinedSoon() {
    if (inBrowser() || options.WebSocket) link.connectSoon();
    else if (DEVELOPMENT && !saidNotConnecting && link.state === 'idle') {
      saidNotConnecting = true;
      core.printOnce('outside of browsers, call connect()');
    }
  }

  function request(what, { timeout = patience, signal }, frame) {
    return new Answer((resolve, reject) => {
      const asked = frame();
      if (asked.key !== undefined) checkText('key', asked.key);
      checkWait(timeout, signal);
      if (link.state === 'closed') throw new GroupcastError('closed', DEVELOPMENT && 'the client is closed');
      outbox.request(asked, timeout, signal, resolve, reject);
      link.connectSoon();
    }).guard((error) => (
      core.printOnce(`${what} ${DEVELOPMENT ? 'failed, and nothing awaits it: ' : ''}${error.code}`, error)
    ));
  }

  function deliver(message) {
    if (!message) return;
    if (client.onmessage) guarded(client.onmessage, message);
    core.emit('event', message);
  }

  const link = createConnector(url, options, core);
  const groups = createGroups(core, link);
  const outbox = createOutbox(link, options.outbox ?? {});
  return Object.assign(core, { link, members: groups, requests: outbox });
}

/**
 * Unique among the requests of one `sub` within the window in which keys are remembered, which needs no
 * `crypto`: 52 random bits for each millisecond.
 */
const newKey = () => `${Date.now()}-${Math.random()}`;
