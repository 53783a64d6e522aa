// The token at hand: where it comes from, how long it is valid, when it is renewed and given up.

import { checkToken } from './check.js';
import { clock } from './clock.js';
import { onAbort } from './deferred.js';
import { DEVELOPMENT } from './development.js';
import { GroupcastError, UnauthorizedError, errorFrom } from './errors.js';
import { after } from './timer.js';
import { tokenFrom } from './token.js';

/** Longest that `getToken` may take, ms. */
const PATIENCE_MS = 10_000;
/** Shortest time between two tokens if the gateway asks early, ms. */
const EARLY_MS = 30_000;

/** After `getToken` failed, ms: it is asked again in 5 to 15 s, so that a back end can recover. */
export const tokenPause = () => 5000 + Math.random() * 10_000;

/**
 * @param {{token?: string, getToken?: Function}} options
 * @param {ReturnType<import('./connector.js').createConnector>} link
 * @returns {object} `rejected`: whether the last one was refused; a stable connection makes the next
 *   refusal a first one again
 */
export function createTokens({ token: initial, getToken }, link) {
  const renewable = Boolean(getToken);
  /** The call of `getToken` in flight. */
  let flight = null;
  /** @type {'initial' | 'expiring' | 'rejected'} why the next token is fetched */
  let reason = 'initial';
  let acceptedAt = 0;
  /** From when it was accepted to when it should be renewed, ms. */
  let life = Infinity;
  let timer;

  const tokens = {
    /** The current token, valid or not. */
    held: checkToken(initial),

    /** A token for `hello`: the current one while valid, `undefined` where none is configured. */
    async current() {
      const { held } = tokens;
      return !renewable || (held && clock() < acceptedAt + life) ? held : renew();
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
    accepted(expiresIn) {
      reason = 'expiring';
      acceptedAt = clock();
      life = expiresIn === undefined ? Infinity : Math.max(1000, expiresIn * (720 + Math.random() * 160));
      tokens.renewIn(life);
    },

    /**
     * The gateway asks for a new token. One that was accepted just now serves its time first: asked
     * for again at once, a short-lived one would be fetched endlessly, as fast as the site answers.
     */
    due() {
      const rest = Math.min(life, EARLY_MS) + acceptedAt - clock();
      if (rest > 0 && renewable) tokens.renewIn(rest);
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
      const again = renewable && !tokens.rejected;
      tokens.rejected = true;
      return again;
    },

    /** Renews it after so many ms on this connection; never if they are infinite. */
    renewIn(delay) {
      clearTimeout(timer);
      if (renewable) timer = after(delay, renewNow);
    },

    /** Cancels the request in flight: the client is closed. */
    cancel() {
      flight?.controller.abort(new GroupcastError('closed', DEVELOPMENT && 'the client is closed'));
      flight = null;
    },
  };

  /** Fetches a token; callers at the same time share one call of `getToken`. */
  function renew() {
    let mine = flight;
    if (!mine) {
      mine = flight = { controller: new AbortController() };
      mine.promise = fetched(mine);
    }
    return mine.promise;
  }

  async function fetched(mine) {
    const { controller } = mine;
    const { signal } = controller;
    const slow = () => controller.abort(new GroupcastError('timeout', DEVELOPMENT ? 'getToken: too slow' : 'getToken', true));
    const patience = after(PATIENCE_MS, slow);
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
      throw status === 401 || status === 403 ? new UnauthorizedError(error.message) : error;
    } finally {
      clearTimeout(patience);
      if (flight === mine) flight = null;
    }
  }

  function keep(token) {
    tokens.held = token;
    life = Infinity;
  }

  async function renewNow() {
    const { session } = link;
    try {
      if (!renewable) {
        throw new GroupcastError('unauthorized', DEVELOPMENT && 'the token runs out; call setToken');
      }
      await renew();
      // On another connection by now, `hello` carried the new token or will.
      if (link.session === session && link.live()) tokens.present();
    } catch (error) {
      // Cancelled by a token that the application set, or on a connection that is gone.
      if (link.session !== session || error?.code === 'closed') return;
      if (error instanceof UnauthorizedError) return link.signedOut(error);
      tokens.renewIn(tokenPause());
      link.report(error);
    }
  }

  return tokens;
}
