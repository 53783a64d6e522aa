// What is behind a client: the connection, the groups and the requests, and what passes between them.

import { checkEvent, checkName, checkSince, checkText, checkTimeout, isReserved } from './check.js';
import { Connector } from './connector.js';
import { Answer, onAbort } from './deferred.js';
import { GroupcastError } from './errors.js';
import { Groups } from './groups.js';
import { Listeners, guarded } from './listeners.js';
import { Outbox } from './outbox.js';
import { inBrowser } from './wake.js';

const EVENTS = ['state', 'waiting', 'closed', 'error', 'event', 'gap'];
/** Warnings that one client gives, each once. */
const MOST_WARNINGS = 50;

let saidNotConnecting = false;

export class Core {
  #client;
  #options;
  #listeners = new Listeners();
  #outbox;
  #warned = new Set();
  #everConnected = false;

  constructor(client, url, options) {
    this.#client = client;
    this.#options = options;
    this.timeout = options.timeout ?? 10_000;
    checkTimeout(this.timeout);
    this.connector = new Connector(url, { connectTimeout: 10_000, ...options }, {
      starting: () => this.groups.resume(),
      since: (maxBytes) => this.groups.since(maxBytes),
      welcomed: (standings) => this.#welcomed(standings),
      received: (frame) => this.#received(frame),
      lost: () => this.#lost(),
      closed: (error) => this.#closed(error),
      emit: (event, value) => this.#emit(event, value),
    });
    this.groups = new Groups(this, this.connector);
    this.#outbox = new Outbox(options.outbox, this.connector);
  }

  /** Somebody waits for a connection. */
  wanted() {
    if (this.connector.state === 'idle') this.connector.connect();
  }

  join(name, { since, signal, timeout = this.timeout }) {
    checkName(name);
    checkTimeout(timeout);
    const handle = this.groups.join(name, checkSince(since), timeout);
    onAbort(signal, () => handle.leave());
    this.#connectSoon();
    return handle.group;
  }

  /** A page that is rendered on a server joins, too, and must not dial from there. */
  #connectSoon() {
    if (inBrowser() || this.#options.WebSocket) return this.connector.connectSoon();
    if (saidNotConnecting || this.connector.state !== 'idle') return;
    saidNotConnecting = true;
    this.warn('server', 'outside of browsers join() does not connect by itself; call connect()');
  }

  send(group, data, { echo = true, key = newKey(), ...options } = {}) {
    return this.#request(`send to ${String(group)}`, options, () => {
      checkName(group);
      checkEvent(data);
      return { type: 'send', group, data, echo: echo ? undefined : false, key };
    });
  }

  call(name, data, { key, ...options } = {}) {
    return this.#request(`call ${String(name)}`, options, () => {
      checkText('the name of a call', name);
      return { type: 'call', name, data, key };
    });
  }

  on(event, callback, options) {
    if (!EVENTS.includes(event)) this.warn(`on ${event}`, `client.on: ${event} is none of ${EVENTS.join(' ')}`);
    return this.#listeners.on(event, callback, options);
  }

  /** What nobody may have noticed, once. */
  warn(kind, message, cause = '') {
    if (this.#options.warnings === false || this.#warned.has(kind)) return;
    if (this.#warned.size >= MOST_WARNINGS) return;
    this.#warned.add(kind);
    globalThis.console?.warn(`groupcast: ${message}`, cause);
  }

  #request(what, { timeout = this.timeout, signal }, frame) {
    let answer;
    try {
      const request = frame();
      if (request.key !== undefined) checkText('`key`', request.key);
      checkTimeout(timeout);
      if (this.connector.state === 'closed') throw new GroupcastError('closed', 'the client is closed');
      answer = this.#outbox.request(request, timeout, signal);
      this.connector.connectSoon();
    } catch (error) {
      answer = Answer.reject(error);
    }
    return answer.guard((error) => this.warn(`${what} ${error.code}`, `${what} failed, and nothing awaits it:`, error));
  }

  #welcomed(standings) {
    this.#everConnected = true;
    const notifications = this.groups.welcomed(standings);
    this.#outbox.flush();
    return notifications;
  }

  #received(frame) {
    switch (frame.type) {
      case 'event':
        return this.#deliver(this.groups.event(frame));
      case 'gap':
        if (frame.group !== undefined) return this.groups.gap(frame);
        return this.#missed(frame);
      case 'position':
        return this.groups.position(frame);
      case 'joined':
      case 'left':
        return frame.id === undefined && this.groups.changed(frame);
      case 'result':
        return this.#outbox.answered(frame);
      case 'error':
        if (this.#outbox.answered(frame) || frame.id !== undefined) return;
        this.#emit('error', GroupcastError.from(frame));
    }
  }

  /** Events of no group were missed: the client's own affair. */
  #missed({ reason, lost, possible = false }) {
    this.#emit('gap', { reason, lost, possible });
  }

  #deliver(message) {
    if (!message) return;
    if (this.#client.onmessage) guarded(this.#client.onmessage, message);
    this.#emit('event', message);
  }

  #emit(event, value) {
    if (this.#listeners.emit(event, value)) return;
    if (event === 'error') this.warn(`error ${value?.message}`, 'an error that nothing listens to:', value);
    if (event === 'closed' && value.error.code !== 'closed') this.#explainEnd(value);
    if (event === 'closed' && value.error.closeCode) this.#explainEnd(value);
    if (event === 'waiting' && value.attempt && !this.#everConnected && !this.#listeners.has('state')) {
      this.warn('waiting', 'no connection: is the address right, and the gateway running? Trying again');
    }
  }

  #explainEnd({ code, reason, error }) {
    this.warn(`closed ${code}`, `closed with ${code}, and will not come back by itself: ${reason}`, error);
  }

  #lost() {
    this.groups.lost();
    this.#outbox.lost();
  }

  #closed(error) {
    this.groups.suspend(error);
    this.#outbox.close(error);
  }
}

/** Unique among the requests of one `sub` within the window in which keys are remembered. */
function newKey() {
  // Pages without TLS have `crypto` but no `randomUUID`.
  return globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random()}-${Math.random()}`;
}
