// The state machine: one connection at a time, when to make the next, when to give up.

import { createBackoff } from './backoff.js';
import { clock } from './clock.js';
import { deferred } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError, isSignedOut } from './errors.js';
import { createGate } from './gate.js';
import { createPacer } from './pacer.js';
import {
  BROKEN, CLIENT, MAX_BYTES, SUBPROTOCOL, TOO_LARGE, UNAUTHORIZED, mayReturn, parseReason, sizeOf, socketUrl, tooLarge,
} from './protocol.js';
import { PROBE_MS, createSession } from './session.js';
import { after } from './timer.js';
import { createTokens, tokenPause } from './tokens.js';
import { watchNetwork } from './wake.js';

/** Shortest time between two waits that were cut short, ms. */
const WAKE_PAUSE_MS = 2000;
/** Spread of attempts when the network returns, ms. */
const WAKE_SPREAD_MS = 300;

/**
 * @param {string | URL} url
 * @param {object} options those of the client
 * @param {object} core is notified of the connection
 */
export function createConnector(url, options, core) {
  const backoff = createBackoff(options.backoff ?? {});
  // Answers that matter on this connection only, by id.
  const answers = new Map();
  // Every step takes a new number; pending work compares it and stops.
  let turn = 0;
  let lastId = 0;
  let sentToken;
  /** The id of the last connection. */
  let lastConnection;
  /** The next limit in bytes if this hello is too large; undefined if nothing can be left out. */
  let nextHello;
  let retryTimer;
  let dialAt;
  let dialledAt;
  let wokenAt = -Infinity;
  let stopWatching;
  let ready;

  const link = {
    /** @type {'idle' | 'connecting' | 'connected' | 'waiting' | 'closed'} */
    state: 'idle',
    /** Why `state` is `closed`. */
    error: null,
    /** The largest message that the gateway takes, from the last `welcome` or refusal. */
    largest: MAX_BYTES,
    /** The current connection. */
    session: null,
    pacer: createPacer(),
    gate: createGate(),

    /** Whether frames can be sent: welcomed, and a frame arrived lately. */
    live: () => link.session?.welcome && link.session.check(),

    nextId: () => (lastId += 1),

    /** Sends a frame, and passes its answer on if it comes on this connection. */
    send(id, text, answer) {
      answers.set(id, answer);
      link.pacer.spend();
      return link.session?.send(text);
    },

    /** Asks for what matters on this connection only. What has a `code` is an error. */
    ask(frame, answer) {
      const id = link.nextId();
      const text = JSON.stringify({ ...frame, id });
      const error = tooLarge(sizeOf(text), link.largest);
      if (error) answer(error);
      else link.send(id, text, answer);
    },

    connect() {
      if (!stopWatching) {
        ready = deferred();
        stopWatching = watchNetwork(link);
        backoff.attempt = 0;
        tokens.rejected = false;
        core.members.resume(link.error);
        link.error = null;
        dial();
      }
      return ready.promise;
    },

    /** Connects at the end of this turn of the event loop, if nothing else was decided by then. */
    connectSoon() {
      queueMicrotask(() => link.state === 'idle' && link.connect());
    },

    /** Ends the connection and everything that waits for it. `connect` starts again. */
    close(code = 1000) {
      link.gate.clear();
      end(code, new GroupcastError('closed', DEVELOPMENT && 'closed by the application'));
    },

    /** Replaces the token; while connected, in band; after 4401, connects again. */
    setToken(token) {
      tokens.set(token);
      // The token that was awaited no longer counts.
      if (link.state === 'connecting' && !link.session) dial();
      if (!token) return;
      if (link.live()) tokens.present();
      // A client closed for lack of a token reconnects with one.
      if (link.state === 'closed' && isSignedOut(link.error)) link.connect();
    },

    // ===== for what watches the network =====

    /**
     * The network may be back, or the application asked: probes the connection, or ends a wait.
     * @param {boolean} [spread] whether many clients are likely to do the same at this moment
     */
    wake(spread) {
      // May find that it is dead.
      link.session?.probe();
      if (link.state === 'waiting') dialEarly(spread);
      // The site may be as unreachable as the gateway was: what it does not answer soon is asked again.
      else if (link.state === 'connecting' && !link.session) dialIn(dialledAt + PROBE_MS - clock());
    },

    /** The page goes into the back/forward cache, which takes none that are connected. */
    suspend() {
      if (!link.session) return;
      link.session.end();
      link.disconnected(BROKEN, '', true);
      // Restored, it does not wait for an earlier wake.
      wokenAt = -Infinity;
    },

    // ===== for the session and its token =====

    hello() {
      const frame = { type: 'hello', token: sentToken, client: CLIENT, previous: lastConnection };
      const bare = sizeOf(frame);
      frame.since = core.members.since(link.largest - bare - 16);
      nextHello = frame.since && sizeOf(frame) / 2;
      return JSON.stringify(frame);
    },

    welcomed(welcome) {
      move('connected', () => {
        link.largest = welcome.max_bytes;
        lastConnection = welcome.connection;
        link.pacer.begin(welcome);
        tokens.accepted(welcome.expires_in);
        // Set after hello was sent.
        if (tokens.held !== sentToken) link.setToken(tokens.held);
        // Code that awaits the connection adds listeners for what arrives with it.
        link.gate.hold();
        core.members.welcomed(welcome.groups);
        core.requests.flush();
        ready.fulfil();
      });
    },

    received(frame) {
      link.gate.run(() => {
        const answer = answers.get(frame.id);
        if (frame.type === 'auth_due') tokens.due();
        else if (answer) {
          answers.delete(frame.id);
          answer(frame);
        } else core.received(frame);
      });
    },

    /**
     * @param {number} code close code, 1006 if there was none
     * @param {string} text of the close frame
     * @param {boolean} silent whether this side gave up on a silent peer
     * @param {boolean} probed whether it failed because the network may have changed
     * @param {number} uptime how long it had been welcomed, ms; negative if it was not
     */
    disconnected(code, text, silent, probed, uptime) {
      // What arrived before counts.
      const before = turn;
      link.gate.drain();
      if (turn !== before) return;
      const { welcome } = link.session;
      const { reason, retryMs } = parseReason(text);
      teardown();
      if (backoff.ended(uptime)) tokens.rejected = false;
      if (mayTryAgain(code, welcome)) {
        // Given up by this side only, so there is no herd of clients to spread.
        const hint = retryMs ?? (code === BROKEN && !silent ? welcome?.retry_ms : undefined);
        wait(backoff.next(hint, retryMs), code, reason);
        if (probed) link.wake(true);
      } else {
        const kind = code === UNAUTHORIZED ? 'unauthorized' : 'closed';
        const error = new GroupcastError(kind, reason || (DEVELOPMENT && `closed with ${code}`));
        error.closeCode = code;
        end(code, error);
      }
    },

    report(error) {
      core.emit('error', error);
    },

    /** Nobody is signed in. */
    signedOut(error) {
      end(UNAUTHORIZED, error);
    },
  };
  const tokens = createTokens(options, link);

  // ===== the steps =====

  /** As soon as wakes may follow each other, and not later than it would have been. */
  function dialEarly(spread) {
    backoff.attempt = 0;
    const now = clock();
    const pause = Math.max(wokenAt + WAKE_PAUSE_MS - now, spread ? Math.random() * WAKE_SPREAD_MS : 0);
    dialIn(Math.min(pause, dialAt - now));
    wokenAt = dialAt;
    // One that is still being fetched may have lost its answer.
    tokens.cancel();
  }

  /**
   * Takes the step, cleans up, and notifies the listeners.
   * @returns {boolean} false if they decided otherwise
   */
  function move(state, settle) {
    const previous = link.state;
    const step = (turn += 1);
    link.state = state;
    settle?.();
    if (previous !== state) core.emit('state', { state, previous });
    return turn === step;
  }

  function dialIn(delay) {
    clearTimeout(retryTimer);
    dialAt = clock() + delay;
    retryTimer = after(delay, dial);
  }

  async function dial() {
    if (link.state === 'connecting') tokens.cancel();
    dialledAt = clock();
    if (!move('connecting')) return;
    const step = turn;
    let token;
    try {
      token = await tokens.current();
    } catch (error) {
      if (turn !== step) return;
      if (isSignedOut(error)) return link.signedOut(error);
      wait(tokenPause(), 'bad_token', error.message);
      return link.report(error);
    }
    if (turn !== step) return;
    try {
      open(token);
    } catch (error) {
      // An invalid address, mixed content, no WebSockets: a later try would fail, too.
      end(BROKEN, error);
    }
  }

  function open(token) {
    clearTimeout(retryTimer);
    const { connectTimeout = 10_000, WebSocket = globalThis.WebSocket } = options;
    if (!WebSocket) {
      throw new GroupcastError('no_websocket', DEVELOPMENT && 'no WebSocket here; give one as an option');
    }
    sentToken = token;
    link.session = createSession(new WebSocket(socketUrl(url), SUBPROTOCOL), connectTimeout, link);
  }

  function mayTryAgain(code, welcome) {
    if (code === UNAUTHORIZED) return tokens.refused();
    // A gateway with a lower limit refuses before it can announce it: send a smaller hello.
    if (!TOO_LARGE.includes(code) || welcome || !nextHello) return mayReturn(code);
    link.largest = nextHello;
    return true;
  }

  function teardown() {
    clearTimeout(retryTimer);
    tokens.renewIn(Infinity);
    link.session = null;
    answers.clear();
    core.members.disconnected();
    core.requests.disconnected();
  }

  function wait(delay, code, reason) {
    dialIn(delay);
    if (!move('waiting')) return;
    core.emit('waiting', { attempt: backoff.attempt, delay, at: new Date(Date.now() + delay), code, reason });
  }

  function end(code, error) {
    if (link.state === 'closed') return;
    link.session?.end(code);
    teardown();
    stopWatching = stopWatching?.();
    tokens.cancel();
    link.error = error;
    core.members.suspend(error);
    core.requests.close(error);
    ready?.refuse(error);
    move('closed');
    core.emit('closed', { code, reason: error.message, error });
  }

  return link;
}
