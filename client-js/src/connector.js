// The state machine: one connection at a time, when to make the next, when to give up.

import { Backoff } from './backoff.js';
import { deferred } from './deferred.js';
import { GroupcastError, UnauthorizedError } from './errors.js';
import { BROKEN, CLIENT, MAX_BYTES, UNAUTHORIZED, byteLength, mayReturn, socketUrl } from './protocol.js';
import { Renewal, tokenPause } from './renewal.js';
import { Session } from './session.js';
import { Tokens } from './token.js';
import { watchWaking } from './wake.js';

/** Between two waits that were cut short, ms. */
const WAKE_PAUSE_MS = 2000;
/** Spread of what a returning network wakes at once, ms. */
const WAKE_SPREAD_MS = 300;

export class Connector {
  /** @type {'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'} */
  state = 'idle';

  #url;
  #options;
  #WebSocket;
  #on;
  #tokens;
  #renewal;
  #backoff;
  #session = null;
  #sentToken;
  // Every step takes a new number; whatever was under way compares and gives up.
  #turn = 0;
  #lastId = 0;
  #answers = new Map();
  #retryTimer;
  #wokenAt = -Infinity;
  #stopWatching = () => {};
  #ready = null;

  /**
   * @param {string | URL} url
   * @param {object} options those of the client
   * @param {object} on `starting()`, `since(maxBytes)` for hello, `welcomed(groups)` which returns the
   *   notifications to run afterwards, `received(frame)`, `lost()`, `closed(error)`, `emit(event, value)`
   */
  constructor(url, options, on) {
    this.#url = url;
    this.#options = options;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#on = on;
    this.#tokens = new Tokens(options);
    this.#renewal = new Renewal(this.#tokens, {
      session: () => this.#session,
      live: () => this.live(),
      ask: (frame, answer) => this.ask(frame, answer),
      report: (error) => on.emit('error', error),
      signedOut: (error) => this.#signedOut(error),
    });
    this.#backoff = new Backoff(options.backoff);
  }

  get welcome() {
    return this.#session?.welcome;
  }

  get maxBytes() {
    return this.welcome?.max_bytes ?? MAX_BYTES;
  }

  /** Whether frames can be sent: welcomed, and a frame arrived lately. */
  live() {
    return Boolean(this.welcome) && this.#session.check();
  }

  send(frame) {
    return this.#session?.send(frame) ?? false;
  }

  nextId() {
    return (this.#lastId += 1);
  }

  /** Sends a frame whose answer matters on this connection only. */
  ask(frame, answer) {
    const id = this.nextId();
    this.#answers.set(id, answer);
    this.send({ ...frame, id });
  }

  connect() {
    if (this.state !== 'idle' && this.state !== 'closed') return this.#ready.promise;
    this.#ready = deferred();
    this.#stopWatching = watchWaking(() => this.wake());
    this.#backoff.reset();
    this.#tokens.stable();
    this.#on.starting();
    this.#dial();
    return this.#ready.promise;
  }

  /** Connects at the end of this turn of the event loop, if nothing else was decided by then. */
  connectSoon() {
    if (this.state !== 'idle' || !this.#WebSocket) return;
    const turn = this.#turn;
    queueMicrotask(() => this.#turn === turn && this.connect());
  }

  close(code) {
    this.#session?.end(code);
    this.#end(code, new GroupcastError('closed', 'closed by the application'));
  }

  setToken(token) {
    this.#tokens.set(token);
    if (token && this.live()) this.#renewal.present(token);
  }

  /** The page woke up, or somebody asked: doubts a connection, cuts a wait short. */
  wake() {
    if (this.#session) return this.#session.probe();
    const now = Date.now();
    if (this.state !== 'waiting' || now - this.#wokenAt < WAKE_PAUSE_MS) return;
    this.#wokenAt = now;
    this.#dialIn(Math.random() * WAKE_SPREAD_MS);
  }

  /** Changes the state; the returned function notifies the listeners once everything is in order. */
  #move(state) {
    const previous = this.state;
    this.state = state;
    this.#turn += 1;
    return () => previous !== state && this.#on.emit('state', { state, previous });
  }

  #dialIn(delay) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#dial(), delay);
  }

  async #dial() {
    const announce = this.#move('connecting');
    const turn = this.#turn;
    announce();
    let token;
    try {
      if (this.#turn === turn) token = await this.#tokens.current();
    } catch (error) {
      if (this.#turn === turn) this.#tokenless(error);
      return;
    }
    if (this.#turn !== turn) return;
    try {
      this.#session = this.#open(token);
    } catch (error) {
      // An address that is none, mixed content, no WebSockets: no later try would do better.
      this.#end(BROKEN, error);
    }
  }

  #open(token) {
    const hello = () => this.#hello();
    this.#sentToken = token;
    const { connectTimeout } = this.#options;
    return new Session(this.#WebSocket, socketUrl(this.#url), hello, connectTimeout, {
      welcome: (frame) => this.#welcomed(frame),
      frame: (frame) => this.#received(frame),
      lost: (loss) => this.#lost(loss),
    });
  }

  #tokenless(error) {
    if (error instanceof UnauthorizedError) return this.#signedOut(error);
    this.#wait(tokenPause());
    this.#on.emit('error', error);
  }

  #signedOut(error) {
    this.#session?.end();
    this.#end(UNAUTHORIZED, error);
  }

  #hello() {
    const frame = { type: 'hello', token: this.#sentToken, client: CLIENT };
    const since = this.#on.since(MAX_BYTES - byteLength(JSON.stringify(frame)) - 16);
    return Object.keys(since).length ? { ...frame, since } : frame;
  }

  #welcomed({ expires_in: expiresIn, groups }) {
    const announce = this.#move('connected');
    const turn = this.#turn;
    this.#renewal.accepted(expiresIn);
    // Set after hello was sent.
    if (this.#tokens.held !== this.#sentToken) this.setToken(this.#tokens.held);
    const notifications = this.#on.welcomed(groups);
    this.#ready.resolve();
    announce();
    for (const notify of notifications) if (this.#turn === turn) notify();
  }

  #received(frame) {
    if (frame.type === 'auth_due') return this.#renewal.now();
    const answer = this.#answers.get(frame.id);
    if (!answer) return this.#on.received(frame);
    this.#answers.delete(frame.id);
    answer(frame);
  }

  #lost({ code, reason, retryMs, silent, uptimeMs }) {
    const window = this.welcome?.retry_ms;
    this.#teardown();
    if (this.#backoff.ended(uptimeMs)) this.#tokens.stable();
    const again = code === UNAUTHORIZED ? this.#tokens.refused() : mayReturn(code);
    if (!again) {
      const kind = code === UNAUTHORIZED ? 'unauthorized' : 'closed';
      return this.#end(code, new GroupcastError(kind, reason || `closed with ${code}`));
    }
    // What this side gave up on is this side's trouble alone: there is no herd to spread.
    const hint = retryMs ?? (code === BROKEN && !silent ? window : undefined);
    this.#wait(this.#backoff.next(hint, retryMs));
  }

  #teardown() {
    clearTimeout(this.#retryTimer);
    this.#renewal.stop();
    this.#session = null;
    this.#answers.clear();
    this.#on.lost();
  }

  #wait(delay) {
    this.#dialIn(delay);
    const announce = this.#move('waiting');
    const turn = this.#turn;
    announce();
    if (this.#turn !== turn) return;
    const at = new Date(Date.now() + delay);
    this.#on.emit('waiting', { attempt: this.#backoff.attempt, delay, at });
  }

  #end(code, error) {
    if (this.state === 'closed') return;
    this.#teardown();
    this.#stopWatching();
    this.#tokens.cancel();
    this.#on.closed(error);
    this.#ready?.reject(error);
    this.#move('closed')();
    this.#on.emit('closed', { code, reason: error.message, error });
  }
}
