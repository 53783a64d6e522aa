// Keeps the token of a standing connection fresh, in band.

import { GroupcastError, UnauthorizedError } from './errors.js';

/** Longest delay that timers take; above it they fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** After `getToken` failed, ms: it is asked again in 5 to 15 s, so that a back end can recover. */
export const tokenPause = () => 5000 + Math.random() * 10_000;

export class Renewal {
  #tokens;
  #link;
  #timer;

  /**
   * @param {import('./token.js').Tokens} tokens
   * @param {{session(): object | null, live(): boolean, ask(frame: object, answer: Function): void,
   *   report(error: Error): void, signedOut(error: Error): void}} link
   */
  constructor(tokens, link) {
    this.#tokens = tokens;
    this.#link = link;
  }

  /** The gateway took the token; it runs out in so many seconds, if it does. */
  accepted(expiresIn) {
    this.#later(this.#tokens.accepted(expiresIn));
  }

  stop() {
    clearTimeout(this.#timer);
  }

  async now() {
    if (!this.#tokens.renewable) {
      const message = 'the token runs out and there is no getToken; call setToken';
      return this.#link.report(new GroupcastError('unauthorized', message));
    }
    const session = this.#link.session();
    try {
      const token = await this.#tokens.renew('expiring');
      // On another connection by now, `hello` carried the new token or will.
      if (this.#link.session() === session && this.#link.live()) this.present(token);
    } catch (error) {
      if (this.#link.session() !== session) return;
      if (error instanceof UnauthorizedError) return this.#link.signedOut(error);
      this.#later(tokenPause());
      this.#link.report(error);
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
    this.#timer = setTimeout(() => this.now(), Math.min(delay, MAX_TIMER_MS));
  }
}
