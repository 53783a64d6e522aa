// The state machine: one connection at a time, when to make the next, when to give up.

import { Backoff } from './backoff.js';
import { clock } from './clock.js';
import { deferred } from './deferred.js';
import { GroupcastError, UnauthorizedError } from './errors.js';
import { Gate } from './gate.js';
import { Pacer } from './pacer.js';
import { BROKEN, CLIENT, MAX_BYTES, TOO_LARGE, UNAUTHORIZED, byteLength, mayReturn, socketUrl } from './protocol.js';
import { Renewal, tokenPause } from './renewal.js';
import { PROBE_MS, Session } from './session.js';
import { Tokens } from './token.js';
import { watchNetwork } from './wake.js';

/** Between two waits that were cut short, ms. */
const WAKE_PAUSE_MS = 2000;
/** Spread of what a returning network wakes at once, ms. */
const WAKE_SPREAD_MS = 300;

export class Connector {
  /** @type {'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'} */
  state = 'idle';
  /** Why `state` is `closed`. */
  error = null;
  /** The largest message that the gateway takes, as the last `welcome` or refusal says. */
  maxBytes = MAX_BYTES;
  pacer = new Pacer();
  gate = new Gate();

  #url;
  #options;
  #on;
  #tokens;
  #renewal;
  #backoff;
  #session = null;
  #sentToken;
  /** Bytes to keep to if this hello is too large; undefined if nothing can be left out. */
  #nextHello;
  // Every step takes a new number; whatever was under way compares and gives up.
  #turn = 0;
  #lastId = 0;
  #answers = new Map();
  #retryTimer;
  #dialledAt = 0;
  #wokenAt = -Infinity;
  #stopWatching = () => {};
  #ready = null;
  #closeCode;

  /**
   * @param {string | URL} url
   * @param {object} options those of the client
   * @param {object} on `starting()`, `since(maxBytes)` for hello, `welcomed(groups)` which returns the
   *   notifications to run afterwards, `received(frame)`, `lost()`, `closed(error)`, `emit(event, value)`
   */
  constructor(url, options, on) {
    this.#url = url;
    this.#options = options;
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

  /** Whether frames can be sent: welcomed, and a frame arrived lately. */
  live() {
    return Boolean(this.welcome) && this.#session.check();
  }

  send(frame) {
    this.pacer.spend();
    return this.#session?.send(frame) ?? false;
  }

  nextId() {
    return (this.#lastId += 1);
  }

  /** Sends a frame whose answer matters on this connection only. */
  ask(frame, answer) {
    const id = this.nextId();
    const text = JSON.stringify({ ...frame, id });
    const bytes = byteLength(text);
    if (bytes > this.maxBytes) {
      const message = `${frame.type}: ${bytes} bytes; the gateway takes ${this.maxBytes}`;
      return answer({ type: 'error', code: 'too_large', message, retry: false });
    }
    this.#answers.set(id, answer);
    this.send(text);
  }

  connect() {
    if (this.state !== 'idle' && this.state !== 'closed') return this.#ready.promise;
    const ready = deferred();
    this.#ready = ready;
    this.#stopWatching = watchNetwork({
      wake: () => this.wake(true),
      doubt: () => this.#session?.probe(),
      leave: () => this.#suspend(),
    });
    this.#backoff.reset();
    this.#tokens.stable();
    this.error = null;
    this.#on.starting();
    this.#dial();
    return ready.promise;
  }

  /** Connects at the end of this turn of the event loop, if nothing else was decided by then. */
  connectSoon() {
    if (this.state !== 'idle') return;
    const turn = this.#turn;
    queueMicrotask(() => this.#turn === turn && this.connect());
  }

  close(code) {
    this.#session?.end(code);
    this.gate.clear();
    this.#end(code, new GroupcastError('closed', 'closed by the application'));
  }

  setToken(token) {
    this.#tokens.set(token);
    if (!token) return;
    if (this.live()) this.#renewal.present(this.#tokens.held);
    // Whoever was sent away for want of a token comes back with one.
    if (this.state === 'closed' && this.#closeCode === UNAUTHORIZED) this.connect();
  }

  /**
   * There may be a network again, or somebody asked: doubts a connection, cuts a wait short.
   * @param {boolean} spread whether many clients are likely to do the same at this moment
   */
  wake(spread) {
    if (this.#session) return this.#session.probe();
    if (this.state === 'waiting') return this.#dialEarly(spread);
    if (this.state !== 'connecting' || clock() - this.#dialledAt < PROBE_MS) return;
    // The site may be as unreachable as the gateway was: its token is asked for anew.
    this.#tokens.cancel();
    this.#dial();
  }

  #dialEarly(spread) {
    this.#backoff.reset();
    const pause = Math.max(0, this.#wokenAt + WAKE_PAUSE_MS - clock());
    if (pause > 0 && !spread) return this.#dialIn(pause);
    if (pause > 0) return;
    this.#wokenAt = clock();
    this.#dialIn(spread ? Math.random() * WAKE_SPREAD_MS : 0);
  }

  /** Takes the step; the returned function notifies the listeners once everything is in order. */
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
    this.#dialledAt = clock();
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
    const { connectTimeout, WebSocket = globalThis.WebSocket } = this.#options;
    if (!WebSocket) {
      throw new GroupcastError('no_websocket', 'there is no WebSocket here; give one, such as ws, as the option');
    }
    const hello = () => this.#hello();
    this.#sentToken = token;
    return new Session(WebSocket, socketUrl(this.#url), hello, connectTimeout, {
      welcome: (frame) => this.#welcomed(frame),
      frame: (frame) => this.gate.run(() => this.#received(frame)),
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
    const bare = byteLength(JSON.stringify(frame));
    const since = this.#on.since(this.maxBytes - bare - 16);
    this.#nextHello = undefined;
    if (Object.keys(since).length === 0) return frame;
    const hello = JSON.stringify({ ...frame, since });
    this.#nextHello = Math.max(bare, Math.floor(byteLength(hello) / 2));
    return hello;
  }

  #welcomed(welcome) {
    const announce = this.#move('connected');
    const turn = this.#turn;
    this.maxBytes = welcome.max_bytes;
    this.pacer.begin(welcome);
    this.#renewal.accepted(welcome.expires_in);
    // Set after hello was sent.
    if (this.#tokens.held !== this.#sentToken) this.setToken(this.#tokens.held);
    const notifications = this.#on.welcomed(welcome.groups);
    this.#ready.resolve();
    // Whoever awaits the connection adds listeners for what comes with it.
    this.gate.hold();
    announce();
    for (const notify of notifications) if (this.#turn === turn) this.gate.run(notify);
  }

  #received(frame) {
    if (frame.type === 'auth_due') return this.#renewal.due();
    const answer = this.#answers.get(frame.id);
    if (!answer) return this.#on.received(frame);
    this.#answers.delete(frame.id);
    answer(frame);
  }

  #lost({ code, reason, retryMs, silent, probed, uptimeMs }) {
    // What arrived before counts.
    const turn = this.#turn;
    this.gate.drain();
    if (this.#turn !== turn) return;
    const { welcome } = this;
    this.#teardown();
    if (this.#backoff.ended(uptimeMs)) this.#tokens.stable();
    if (!this.#mayReturn(code, welcome)) {
      const kind = code === UNAUTHORIZED ? 'unauthorized' : 'closed';
      const error = new GroupcastError(kind, reason || `closed with ${code}`);
      return this.#end(code, Object.assign(error, { closeCode: code }));
    }
    // What this side gave up on is this side's trouble alone: there is no herd to spread.
    const hint = retryMs ?? (code === BROKEN && !silent ? welcome?.retry_ms : undefined);
    this.#wait(this.#backoff.next(hint, retryMs));
    if (probed) this.wake(true);
  }

  #mayReturn(code, welcome) {
    if (code === UNAUTHORIZED) return this.#tokens.refused();
    // A gateway that takes less than its default says so before it could tell: ask for less.
    if (TOO_LARGE.includes(code) && !welcome && this.#nextHello) {
      this.maxBytes = this.#nextHello;
      return true;
    }
    return mayReturn(code);
  }

  /** The page goes into the back/forward cache, which takes none that are connected. */
  #suspend() {
    if (!this.#session) return;
    this.#session.end();
    this.gate.drain();
    this.#teardown();
    this.#wait(this.#backoff.next());
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
    this.error = error;
    this.#closeCode = code;
    this.#on.closed(error);
    this.#ready?.reject(error);
    this.#move('closed')();
    this.#on.emit('closed', { code, reason: error.message, error });
  }
}
