// Where the token comes from, how long it is good for, and when to give up on it.

import { GroupcastError, UnauthorizedError } from './errors.js';

/** Longest that `getToken` may take, ms. */
const PATIENCE_MS = 10_000;

export class Tokens {
  #getToken;
  #token;
  #dueAt = Infinity;
  #inFlight = null;
  #rejected = false;
  /** @type {'initial' | 'expiring' | 'rejected'} why the next token is fetched */
  #reason = 'initial';

  constructor({ token, getToken }) {
    this.#token = token ?? undefined;
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
    if (!this.renewable || (this.#token && Date.now() < this.#dueAt)) return this.#token;
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
        throw error;
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
    try {
      const token = await Promise.race([this.#getToken({ reason, signal }), aborted]);
      if (!token) throw new UnauthorizedError('getToken gave no token');
      return String(token);
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(token) {
    this.#inFlight = null;
    this.#token = token ?? undefined;
    this.#dueAt = Infinity;
    this.#reason = 'expiring';
  }

  /** A token from the application; one still being fetched no longer counts. */
  set(token) {
    this.cancel();
    this.#keep(token);
    this.#rejected = false;
  }

  /**
   * The gateway took the token, for `expiresIn` seconds.
   * @returns {number | undefined} ms until it should be renewed: 80 % of its life, spread by a tenth
   *   so that clients that connected together do not renew together
   */
  accepted(expiresIn) {
    if (expiresIn === undefined) {
      this.#dueAt = Infinity;
      return undefined;
    }
    const delay = expiresIn * 1000 * (0.8 + (Math.random() - 0.5) * 0.16);
    this.#dueAt = Date.now() + delay;
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
