// One connection, from dial to loss. Anything that happens on it after its end is ignored.

import { clock } from './clock.js';
import { BROKEN, PING_GRACE_MS, SUBPROTOCOL } from './protocol.js';
import { after } from './timer.js';

/** How long a probed connection has to answer a ping, and a probed attempt to be welcomed, ms. */
export const PROBE_MS = 2500;

/**
 * @param {WebSocket} socket just made, with `SUBPROTOCOL`
 * @param {number} connectTimeout ms for open and welcome together
 * @param {ReturnType<import('./connector.js').createConnector>} link is notified until it ends
 * @returns {object} `welcome`: the frame, once received
 */
export function createSession(socket, connectTimeout, link) {
  const startedAt = clock();
  let deadline = startedAt + connectTimeout;
  let probing = false;
  let ended = false;
  let welcomedAt = Infinity;
  let timer;

  const session = {
    /** @returns {boolean} whether the frame was given to a socket that was alive as far as known */
    send(text) {
      if (!session.check() || socket.readyState !== 1) return false;
      socket.send(text);
      return true;
    },

    /**
     * Whether a frame arrived lately. Timers of hidden and sleeping pages don't run, and a dead
     * socket stays `OPEN` for minutes, so the clock is compared wherever it matters.
     */
    check() {
      if (!ended && clock() > deadline) lose(BROKEN, '', true);
      return !ended;
    },

    /** The network may have changed: what does not answer soon is given up, welcomed or not. */
    probe() {
      // Who asks all the time must not be closed for it.
      if (!session.check() || probing || link.pacer.pause() > 0) return;
      probing = true;
      deadline = Math.min(deadline, (session.welcome ? clock() : startedAt) + PROBE_MS);
      // By the id that nothing is asked with: it has no answer.
      if (session.welcome) link.send(0, '{"type":"ping"}');
      if (session.check()) watch();
    },

    /** Ends it from this side; nothing more is reported. */
    end(code = 1000) {
      detach();
      // A closing handshake may never finish, and a socket that is connecting refuses some codes.
      try {
        socket.close(code);
      } catch {
        socket.close();
      }
    },
  };

  function receive(data) {
    const probed = probing;
    if (session.welcome) heard();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    const type = frame?.type;
    if (type === 'ping') session.send('{"type":"pong"}');
    else if (session.welcome) {
      // A gateway that does not know our ping answers with an error, which is a sign of life, too.
      if (type && !(probed && frame.code && !frame.id)) link.received(frame);
    } else if (type === 'welcome') {
      session.welcome = frame;
      welcomedAt = clock();
      heard();
      watch();
      link.welcomed(frame);
    }
  }

  function heard() {
    probing = false;
    deadline = clock() + session.welcome.ping_ms + PING_GRACE_MS;
  }

  /** One timer that looks at the clock when it fires, instead of a new one for every frame. */
  function watch() {
    clearTimeout(timer);
    timer = after(deadline - clock() + 1, () => session.check() && watch());
  }

  function detach() {
    ended = true;
    clearTimeout(timer);
    socket.onopen = socket.onmessage = socket.onclose = null;
  }

  function lose(code, text, silent) {
    detach();
    // Chromium kept a black-holed socket in CLOSING, without an event, for as long as we watched:
    // the loss is reported now, not when the socket agrees.
    if (silent) socket.close();
    link.disconnected(code, text, silent, silent && probing, clock() - welcomedAt);
  }

  watch();
  socket.onopen = () => session.send(link.hello());
  socket.onmessage = ({ data }) => receive(data);
  socket.onclose = ({ code, reason }) => lose(code, reason);
  // A close event always follows; Node's `ws` throws errors that have no listener.
  socket.onerror = () => {};
  return session;
}
