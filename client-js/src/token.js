// Where the token comes from, how long it is good for, and when to give up on it.

import { checkToken, isToken } from './check.js';
import { clock } from './clock.js';
import { GroupcastError, UnauthorizedError } from './errors.js';

/** Longest that `getToken` may take, ms. */
const PATIENCE_MS = 10_000;

const failure = (message) => new GroupcastError('bad_token', message, true);

/**
 * A token from what `getToken` gave: text, `{ token }`, or the site's `Response`. A site that is out
 * of order is asked again; one that shows its sign-in page, or says 401 or 403, wants a sign-in.
 */
async function tokenFrom(given) {
  let text = given?.token ?? given;
  if (text === null) throw new UnauthorizedError('getToken gave null: nobody is signed in');
  if (typeof text?.text === 'function') {
    const { status } = text;
    if (status === 401 || status === 403) throw new UnauthorizedError(`the site answered ${status}`);
    if (!text.ok) throw failure(`getToken: the site answered ${status}`);
    text = await text.text();
    if (/^\s*{/.test(text)) text = JSON.parse(text).token;
  }
  const token = typeof text === 'string' ? text.trim() : text;
  if (isToken(token)) return token;
  if (/<(form|input)\b/i.test(token)) throw new UnauthorizedError('getToken gave a page with a form');
  throw failure(`getToken gave no token: ${String(token).slice(0, 80)}`);
}

export class Tokens {
  #getToken;
  #token;
  #dueAt = Infinity;
  #inFlight = null;
  #rejected = false;
  /** @type {'initial' | 'expiring' | 'rejected'} why the next token is fetched */
  #reason = 'initial';

  constructor({ token, getToken }) {
    this.#token = checkToken(token);
    this.#getToken = getToken;
  }

  get renewable() {
    return typeof this.#getToken === 'function';
  }

  /** The token at hand, good or not. */
  get held() {
    return this.#token;
  }

  /** A token for `hello`: the one at hand while it is good, `undefined` where none is configured. */
  async current() {
    if (!this.renewable || (this.#token && clock() < this.#dueAt)) return this.#token;
    return this.renew(this.#token ? 'expiring' : this.#reason);
  }

  /** Fetches a token; callers at the same time share one call of `getToken`. */
  renew(reason) {
    this.#inFlight ??= this.#fetch(reason);
    return this.#inFlight.promise;
  }

  #fetch(reason) {
    const controller = new AbortController();
    const flight = { controller };
    flight.promise = this.#ask(reason, controller).then(
      (token) => {
        if (this.#inFlight === flight) this.#keep(token);
        return token;
      },
      (error) => {
        if (this.#inFlight === flight) this.#inFlight = null;
        // Clients of HTTP throw what others give back: 401 and 403 mean the same here.
        const status = error?.status ?? error?.response?.status;
        throw status === 401 || status === 403 ? new UnauthorizedError(error.message) : error;
      },
    );
    return flight;
  }

  async #ask(reason, controller) {
    const { signal } = controller;
    let timer;
    const aborted = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      timer = setTimeout(() => {
        controller.abort(new GroupcastError('timeout', 'getToken took too long', true));
      }, PATIENCE_MS);
    });
    const given = (async () => tokenFrom(await this.#getToken({ reason, signal })))();
    try {
      return await Promise.race([given, aborted]);
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(token) {
    this.#inFlight = null;
    this.#token = token;
    this.#dueAt = Infinity;
    this.#reason = 'expiring';
  }

  /** A token from the application; one still being fetched no longer counts. */
  set(token) {
    const checked = checkToken(token);
    this.cancel();
    this.#keep(checked);
    this.#rejected = false;
  }

  /**
   * The gateway took the token, for `expiresIn` seconds.
   * @returns {number | undefined} ms until it should be renewed: 80 % of its life, spread by a tenth
   *   so that clients that connected together do not renew together; never more often than each second
   */
  accepted(expiresIn) {
    if (expiresIn === undefined) {
      this.#dueAt = Infinity;
      return undefined;
    }
    const delay = Math.max(1000, expiresIn * 1000 * (0.8 + (Math.random() - 0.5) * 0.16));
    this.#dueAt = clock() + delay;
    return delay;
  }

  /**
   * The gateway refused the token.
   * @returns {boolean} whether another try makes sense: with a fresh token, and once
   */
  refused() {
    this.#token = undefined;
    this.#reason = 'rejected';
    if (!this.renewable || this.#rejected) return false;
    this.#rejected = true;
    return true;
  }

  /** A connection was stable: the next refusal is a first one again. */
  stable() {
    this.#rejected = false;
  }

  /** Nobody waits any more. */
  cancel() {
    this.#inFlight?.controller.abort(new GroupcastError('closed', 'the client was closed'));
    this.#inFlight = null;
  }
}
