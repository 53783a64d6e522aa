// The state machine: one connection at a time, when to make the next, when to give up.

import { Backoff } from './backoff.js';
import { clock } from './clock.js';
import { deferred } from './deferred.js';
import { GroupcastError, UnauthorizedError, tooLarge } from './errors.js';
import { Gate } from './gate.js';
import { Pacer } from './pacer.js';
import { BROKEN, CLIENT, MAX_BYTES, TOO_LARGE, UNAUTHORIZED, byteLength, mayReturn, parseReason, socketUrl } from './protocol.js';
import { Renewal, tokenPause } from './renewal.js';
import { PROBE_MS, Session } from './session.js';
import { Tokens } from './token.js';
import { watchNetwork } from './wake.js';

/** Shortest time between two waits that were cut short, ms. */
const WAKE_PAUSE_MS = 2000;
/** Spread of attempts when the network returns, ms. */
const WAKE_SPREAD_MS = 300;

export class Connector {
  /** @type {'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'} */
  state = 'idle';
  /** Why `state` is `closed`. */
  error = null;
  /** The largest message that the gateway takes, from the last `welcome` or refusal. */
  largest = MAX_BYTES;
  pacer = new Pacer();
  gate = new Gate();
  /** The current connection. */
  session = null;

  #url;
  #options;
  #core;
  #tokens;
  #renewal;
  #backoff;
  #sentToken;
  /** The next limit in bytes if this hello is too large; undefined if nothing can be left out. */
  #nextHello;
  // Every step takes a new number; pending work compares it and stops.
  #turn = 0;
  #lastId = 0;
  #answers = new Map();
  #retryTimer;
  #dialledAt = 0;
  #wokenAt = -Infinity;
  #stopWatching;
  #ready;
  #closeCode;

  /**
   * @param {string | URL} url
   * @param {object} options those of the client
   * @param {import('./core.js').Core} core is notified of the connection
   */
  constructor(url, options, core) {
    this.#url = url;
    this.#options = options;
    this.#core = core;
    this.#tokens = new Tokens(options);
    this.#renewal = new Renewal(this.#tokens, this);
    this.#backoff = new Backoff(options.backoff);
  }

  get welcome() {
    return this.session?.welcome;
  }

  /** Whether frames can be sent: welcomed, and a frame arrived lately. */
  live() {
    return Boolean(this.welcome) && this.session.check();
  }

  send(frame) {
    this.pacer.spend();
    return this.session?.send(frame);
  }

  nextId() {
    return (this.#lastId += 1);
  }

  /** Sends a frame whose answer matters on this connection only. */
  ask(frame, answer) {
    const id = this.nextId();
    const text = JSON.stringify({ ...frame, id });
    const bytes = byteLength(text);
    if (bytes > this.largest) return answer(Object.assign(tooLarge(bytes, this.largest), { type: 'error' }));
    this.#answers.set(id, answer);
    this.send(text);
  }

  connect() {
    if (this.state === 'idle' || this.state === 'closed') {
      this.#ready = deferred();
      this.#stopWatching = watchNetwork(this);
      this.#backoff.reset();
      this.#tokens.stable();
      this.error = null;
      this.#core.members.resume();
      this.#dial();
    }
    return this.#ready.promise;
  }

  /** Connects at the end of this turn of the event loop, if nothing else was decided by then. */
  connectSoon() {
    if (this.state !== 'idle') return;
    const turn = this.#turn;
    queueMicrotask(() => this.#turn === turn && this.connect());
  }

  close(code) {
    this.session?.end(code);
    this.gate.clear();
    this.#end(code, new GroupcastError('closed', 'closed by the application'));
  }

  setToken(token) {
    this.#tokens.set(token);
    if (!token) return;
    if (this.live()) this.#renewal.present(this.#tokens.held);
    // A client closed for lack of a token reconnects with one.
    if (this.state === 'closed' && this.#closeCode === UNAUTHORIZED) this.connect();
  }

  // ===== for what watches the network =====

  /**
   * The network may be back, or the application asked: probes the connection, or ends a wait.
   * @param {boolean} [spread] whether many clients are likely to do the same at this moment
   */
  wake(spread) {
    if (this.session) return this.session.probe();
    if (this.state === 'waiting') return this.#dialEarly(spread);
    if (this.state !== 'connecting' || clock() - this.#dialledAt < PROBE_MS) return;
    // The site may be as unreachable as the gateway was: its token is fetched again.
    this.#tokens.cancel();
    this.#dial();
  }

  /** The page goes into the back/forward cache, which takes none that are connected. */
  suspend() {
    if (!this.session) return;
    this.session.end();
    this.gate.drain();
    this.#teardown();
    this.#wait(this.#backoff.next());
  }

  // ===== for the session and its token =====

  hello() {
    const frame = { type: 'hello', token: this.#sentToken, client: CLIENT };
    const bare = byteLength(JSON.stringify(frame));
    const since = this.#core.members.since(this.largest - bare - 16);
    this.#nextHello = undefined;
    if (Object.keys(since).length === 0) return frame;
    const hello = JSON.stringify({ ...frame, since });
    this.#nextHello = Math.max(bare, Math.floor(byteLength(hello) / 2));
    return hello;
  }

  welcomed(welcome) {
    let notifications;
    const moved = this.#move('connected', () => {
      this.largest = welcome.max_bytes;
      this.pacer.begin(welcome);
      this.#renewal.accepted(welcome.expires_in);
      // Set after hello was sent.
      if (this.#tokens.held !== this.#sentToken) this.setToken(this.#tokens.held);
      notifications = this.#core.welcomed(welcome.groups);
      this.#ready.resolve();
      // Code that awaits the connection adds listeners for what arrives with it.
      this.gate.hold();
    });
    const turn = this.#turn;
    if (moved) for (const notify of notifications) if (this.#turn === turn) this.gate.run(notify);
  }

  received(frame) {
    this.gate.run(() => {
      if (frame.type === 'auth_due') return this.#renewal.due();
      const answer = this.#answers.get(frame.id);
      if (!answer) return this.#core.received(frame);
      this.#answers.delete(frame.id);
      answer(frame);
    });
  }

  /**
   * @param {number} code close code, 1006 if there was none
   * @param {string} text of the close frame
   * @param {boolean} silent whether this side gave up on a silent peer
   * @param {boolean} probed whether it failed because the network may have changed
   * @param {number} uptime how long it had been welcomed, ms
   */
  lost(code, text, silent, probed, uptime) {
    // What arrived before counts.
    const turn = this.#turn;
    this.gate.drain();
    if (this.#turn !== turn) return;
    const { welcome } = this;
    const { reason, retryMs } = parseReason(text);
    this.#teardown();
    if (this.#backoff.ended(uptime)) this.#tokens.stable();
    if (!this.#mayReturn(code, welcome)) {
      const kind = code === UNAUTHORIZED ? 'unauthorized' : 'closed';
      const error = new GroupcastError(kind, reason || `closed with ${code}`);
      error.closeCode = code;
      return this.#end(code, error);
    }
    // Given up by this side only, so there is no herd of clients to spread.
    const hint = retryMs ?? (code === BROKEN && !silent ? welcome?.retry_ms : undefined);
    this.#wait(this.#backoff.next(hint, retryMs));
    if (probed) this.wake(true);
  }

  report(error) {
    this.#core.emit('error', error);
  }

  signedOut(error) {
    this.session?.end();
    this.#end(UNAUTHORIZED, error);
  }

  // ===== the steps =====

  #dialEarly(spread) {
    this.#backoff.reset();
    const pause = this.#wokenAt + WAKE_PAUSE_MS - clock();
    if (pause > 0) {
      if (!spread) this.#dialIn(pause);
      return;
    }
    this.#wokenAt = clock();
    this.#dialIn(spread ? Math.random() * WAKE_SPREAD_MS : 0);
  }

  /**
   * Takes the step, cleans up, and notifies the listeners.
   * @returns {boolean} false if they decided otherwise
   */
  #move(state, settle) {
    const previous = this.state;
    this.state = state;
    const turn = (this.#turn += 1);
    settle?.();
    if (previous !== state) this.#core.emit('state', { state, previous });
    return this.#turn === turn;
  }

  #dialIn(delay) {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#dial(), delay);
  }

  async #dial() {
    this.#dialledAt = clock();
    if (!this.#move('connecting')) return;
    const turn = this.#turn;
    let token;
    try {
      token = await this.#tokens.current();
    } catch (error) {
      if (this.#turn !== turn) return;
      if (error instanceof UnauthorizedError) return this.signedOut(error);
      this.#wait(tokenPause());
      return this.report(error);
    }
    if (this.#turn !== turn) return;
    try {
      this.#open(token);
    } catch (error) {
      // An invalid address, mixed content, no WebSockets: a later try would fail, too.
      this.#end(BROKEN, error);
    }
  }

  #open(token) {
    const { connectTimeout = 10_000, WebSocket = globalThis.WebSocket } = this.#options;
    if (!WebSocket) throw new GroupcastError('no_websocket', 'no WebSocket here; give one as an option');
    this.#sentToken = token;
    this.session = new Session(WebSocket, socketUrl(this.#url), connectTimeout, this);
  }

  #mayReturn(code, welcome) {
    if (code === UNAUTHORIZED) return this.#tokens.refused();
    // A gateway with a lower limit refuses before it can announce it: send a smaller hello.
    if (TOO_LARGE.includes(code) && !welcome && this.#nextHello) {
      this.largest = this.#nextHello;
      return true;
    }
    return mayReturn(code);
  }

  #teardown() {
    clearTimeout(this.#retryTimer);
    this.#renewal.stop();
    this.session = null;
    this.#answers.clear();
    this.#core.lost();
  }

  #wait(delay) {
    this.#dialIn(delay);
    if (!this.#move('waiting')) return;
    const at = new Date(Date.now() + delay);
    this.#core.emit('waiting', { attempt: this.#backoff.attempt, delay, at });
  }

  #end(code, error) {
    if (this.state === 'closed') return;
    this.#teardown();
    this.#stopWatching?.();
    this.#tokens.cancel();
    this.error = error;
    this.#closeCode = code;
    this.#core.ended(error);
    this.#ready?.reject(error);
    this.#move('closed');
    this.#core.emit('closed', { code, reason: error.message, error });
  }
}
