// The source of the token, how long it is valid, and when it is given up.

import { checkToken, isToken, trimmed } from './check.js';
import { clock } from './clock.js';
import { onAbort } from './deferred.js';
import { GroupcastError, UnauthorizedError } from './errors.js';

/** Longest that `getToken` may take, ms. */
const PATIENCE_MS = 10_000;

const failure = (message) => new GroupcastError('bad_token', `getToken: ${message}`, true);
const unauthorized = (message) => new UnauthorizedError(`getToken: ${message}`);
const wantsSignIn = (status) => status === 401 || status === 403;

/**
 * A token from what `getToken` gave: text, `{ token }`, or the site's `Response`. A site that fails
 * is asked again; one that shows its sign-in page, or answers 401 or 403, requires a sign-in.
 */
async function tokenFrom(given) {
  let text = given?.token ?? given;
  if (text === null) throw unauthorized('null');
  if (typeof text?.text === 'function') {
    const { status } = text;
    if (wantsSignIn(status)) throw unauthorized(`status ${status}`);
    if (!text.ok) throw failure(`status ${status}`);
    text = await text.text();
    if (/^\s*{/.test(text)) text = JSON.parse(text).token;
  }
  const token = trimmed(text);
  if (isToken(token)) return token;
  if (/<(form|input)\b/i.test(token)) throw unauthorized('a page with a form');
  throw failure(`no token: ${String(token).slice(0, 80)}`);
}

export class Tokens {
  /** The current token, valid or not. */
  held;

  #getToken;
  #dueAt = Infinity;
  /** The call of `getToken` in flight. */
  #flight = null;
  #rejected = false;
  /** @type {'initial' | 'expiring' | 'rejected'} why the next token is fetched */
  #reason = 'initial';

  constructor({ token, getToken }) {
    this.held = checkToken(token);
    this.#getToken = getToken;
  }

  get renewable() {
    return typeof this.#getToken === 'function';
  }

  /** A token for `hello`: the current one while valid, `undefined` where none is configured. */
  async current() {
    if (!this.renewable || (this.held && clock() < this.#dueAt)) return this.held;
    return this.renew(this.held ? 'expiring' : this.#reason);
  }

  /** Fetches a token; callers at the same time share one call of `getToken`. */
  renew(reason) {
    let flight = this.#flight;
    if (!flight) {
      flight = this.#flight = { controller: new AbortController() };
      flight.promise = this.#fetch(reason, flight);
    }
    return flight.promise;
  }

  async #fetch(reason, flight) {
    const { controller } = flight;
    const { signal } = controller;
    const late = () => controller.abort(new GroupcastError('timeout', 'getToken: too slow', true));
    const timer = setTimeout(late, PATIENCE_MS);
    try {
      const token = await Promise.race([
        new Promise((_, reject) => onAbort(signal, () => reject(signal.reason))),
        (async () => tokenFrom(await this.#getToken({ reason, signal })))(),
      ]);
      if (this.#flight === flight) this.#keep(token);
      return token;
    } catch (error) {
      if (this.#flight === flight) this.#flight = null;
      // Some HTTP clients throw what others return: 401 and 403 mean the same here.
      throw wantsSignIn(error?.status ?? error?.response?.status) ? new UnauthorizedError(error.message) : error;
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(token) {
    this.#flight = null;
    this.held = token;
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
    const life = expiresIn * 1000 * (0.8 + (Math.random() - 0.5) * 0.16);
    const delay = expiresIn === undefined ? undefined : Math.max(1000, life);
    this.#dueAt = clock() + (delay ?? Infinity);
    return delay;
  }

  /**
   * The gateway refused the token.
   * @returns {boolean} whether another try makes sense: with a fresh token, and once
   */
  refused() {
    this.held = undefined;
    this.#reason = 'rejected';
    const again = this.renewable && !this.#rejected;
    this.#rejected = true;
    return again;
  }

  /** A connection was stable: the next refusal is a first one again. */
  stable() {
    this.#rejected = false;
  }

  /** Cancels the request in flight: the client is closed. */
  cancel() {
    this.#flight?.controller.abort(new GroupcastError('closed', 'the client is closed'));
    this.#flight = null;
  }
}
