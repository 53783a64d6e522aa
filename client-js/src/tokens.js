// The token at hand: where it comes from, how long it is valid, when it is renewed and given up.

import { checkToken } from './check.js';
import { clock } from './clock.js';
import { onAbort } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError, UnauthorizedError, errorFrom, isSignedOut } from './errors.js';
import { after } from './timer.js';
import { failure, tokenFrom } from './token.js';

/** Longest that `getToken` may take, ms. */
const PATIENCE_MS = 10_000;
/** Shortest time between two tokens if the gateway asks early: ms, and the part of a life (58 to 70 % of it). */
const EARLY_MS = 30_000;
const EARLY = 0.8;

/** After `getToken` failed, ms: it is asked again in 5 to 15 s, so that a back end can recover. */
export const tokenPause = () => 5000 + Math.random() * 10_000;

/**
 * @param {{token?: string, getToken?: Function}} options
 * @param {ReturnType<import('./connector.js').createConnector>} link
 * @returns {object} `rejected`: whether the last one was refused; a stable connection makes the next
 *   refusal a first one again
 */
export function createTokens({ token: initial, getToken }, link) {
  /** The call of `getToken` in flight. */
  let flight = null;
  /** @type {'initial' | 'expiring' | 'rejected'} why the next token is fetched */
  let reason = 'initial';
  /** When it should be renewed, and from when on if the gateway asks, by the clock. */
  let renewAt = Infinity;
  let earlyAt = 0;
  let timer;

  const tokens = {
    /** The current token, valid or not. */
    held: checkToken(initial),

    /** A token for `hello`: the current one while valid, `undefined` where none is configured. */
    async current() {
      return getToken && !(tokens.held && clock() < renewAt) ? renew() : tokens.held;
    },

    /** A token from the application; one still being fetched no longer counts. */
    set(token) {
      const checked = checkToken(token);
      tokens.cancel();
      keep(checked);
      tokens.rejected = false;
    },

    /**
     * The gateway took the token, for so many seconds. It is renewed after 80 % of its life, spread by
     * a tenth so that clients that connected together do not renew together; never more often than
     * each second.
     */
    accepted(expiresIn = Infinity) {
      reason = 'expiring';
      const life = Math.max(1000, expiresIn * (720 + Math.random() * 160));
      const now = clock();
      renewAt = now + life;
      earlyAt = now + Math.min(life * EARLY, EARLY_MS);
      tokens.renewIn(life);
    },

    /**
     * The gateway asks for a new token. One that was accepted just now serves its time first: asked
     * for again at once, a short-lived one would be fetched endlessly, as fast as the site answers.
     * At 80 % of its life, when the gateway should ask, it is renewed now: hidden pages are asked in
     * time, and have slow timers.
     */
    due() {
      const rest = earlyAt - clock();
      if (rest > 0 && getToken) tokens.renewIn(rest);
      else renewNow();
    },

    /** Shows the current token to the gateway. */
    present() {
      link.ask({ type: 'auth', token: tokens.held }, (answer) => {
        if (answer.code) link.report(errorFrom(answer));
        else tokens.accepted(answer.expires_in);
      });
    },

    /**
     * The gateway refused the token.
     * @returns {boolean} whether another try makes sense: with a fresh token, and once
     */
    refused() {
      tokens.held = undefined;
      reason = 'rejected';
      const before = tokens.rejected;
      tokens.rejected = true;
      return getToken && !before;
    },

    /** Renews it after so many ms on this connection; never if they are infinite. */
    renewIn(delay) {
      clearTimeout(timer);
      if (getToken) timer = after(delay, renewNow);
    },

    /** Cancels the request in flight: the client is closed. */
    cancel() {
      flight?.abort(new GroupcastError('closed', DEVELOPMENT && 'the client is closed'));
      flight = null;
    },
  };

  /** Fetches a token; callers at the same time share one call of `getToken`. */
  function renew() {
    const mine = (flight ??= new AbortController());
    return (mine.promise ??= fetched(mine));
  }

  async function fetched(mine) {
    const { signal } = mine;
    const patience = after(PATIENCE_MS, () => (
      mine.abort(new GroupcastError('timeout', DEVELOPMENT ? 'getToken: too slow' : 'getToken', true))
    ));
    try {
      const token = await Promise.race([
        new Promise((_, reject) => onAbort(signal, () => reject(signal.reason))),
        (async () => tokenFrom(await getToken({ reason, signal })))(),
      ]);
      if (flight === mine) keep(token);
      return token;
    } catch (error) {
      // Some HTTP clients throw what others return: 401 and 403 mean the same here.
      const status = error?.status ?? error?.response?.status;
      if (status === 401 || status === 403) throw new UnauthorizedError(error.message);
      // Anything can be thrown, and `undefined` by a `reject()`.
      throw error?.message ? error : failure(error);
    } finally {
      clearTimeout(patience);
      if (flight === mine) flight = null;
    }
  }

  function keep(token) {
    tokens.held = token;
    renewAt = Infinity;
  }

  async function renewNow() {
    const { session } = link;
    if (!getToken) {
      return link.report(new GroupcastError('unauthorized', DEVELOPMENT && 'the token runs out; call setToken'));
    }
    try {
      await renew();
      // On another connection by now, `hello` carried the new token or will.
      if (link.session === session && link.live()) tokens.present();
    } catch (error) {
      // Cancelled by a token that the application set, or on a connection that is gone.
      if (link.session !== session || error.code === 'closed') return;
      if (isSignedOut(error)) return link.signedOut(error);
      tokens.renewIn(tokenPause());
      link.report(error);
    }
  }

  return tokens;
}
