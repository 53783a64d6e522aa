// Renews the token of an open connection, in band.

import { clock } from './clock.js';
import { MAX_TIMER_MS } from './deferred.js';
import { GroupcastError, UnauthorizedError } from './errors.js';

/** After `getToken` failed, ms: it is asked again in 5 to 15 s, so that a back end can recover. */
export const tokenPause = () => 5000 + Math.random() * 10_000;

/** Shortest time between two tokens if the gateway asks early, ms. */
const EARLY_MS = 30_000;

export class Renewal {
  #tokens;
  #link;
  #timer;
  #acceptedAt = 0;
  #delay;

  /**
   * @param {import('./token.js').Tokens} tokens
   * @param {import('./connector.js').Connector} link
   */
  constructor(tokens, link) {
    this.#tokens = tokens;
    this.#link = link;
  }

  /** The gateway took the token; it runs out in so many seconds, if it does. */
  accepted(expiresIn) {
    this.#acceptedAt = clock();
    this.#delay = this.#tokens.accepted(expiresIn);
    this.#later(this.#delay);
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /**
   * The gateway asks for a new token. One that was accepted just now serves its time first: asked
   * for again at once, a short-lived one would be fetched endlessly, as fast as the site answers.
   */
  due() {
    const served = clock() - this.#acceptedAt;
    const rest = Math.min(this.#delay ?? Infinity, EARLY_MS) - served;
    if (rest > 0 && this.#tokens.renewable) this.#later(rest);
    else this.#now();
  }

  async #now() {
    const link = this.#link;
    const { session } = link;
    try {
      if (!this.#tokens.renewable) {
        throw new GroupcastError('unauthorized', 'the token runs out; call setToken');
      }
      const token = await this.#tokens.renew('expiring');
      // On another connection by now, `hello` carried the new token or will.
      if (link.session === session && link.live()) this.present(token);
    } catch (error) {
      // Cancelled by a token that the application set, or on a connection that is gone.
      if (link.session !== session || error?.code === 'closed') return;
      if (error instanceof UnauthorizedError) return link.signedOut(error);
      this.#later(tokenPause());
      link.report(error);
    }
  }

  /** Shows a new token to the gateway. */
  present(token) {
    this.#link.ask({ type: 'auth', token }, (answer) => {
      if (answer.type === 'error') this.#link.report(GroupcastError.from(answer));
      else this.accepted(answer.expires_in);
    });
  }

  #later(delay) {
    clearTimeout(this.#timer);
    if (delay === undefined || !this.#tokens.renewable) return;
    this.#timer = setTimeout(() => this.#now(), Math.min(delay, MAX_TIMER_MS));
  }
}
