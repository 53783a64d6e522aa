// When to try again: full jitter, a window that the server may set, and a count that only a stable
// connection resets.

/** @typedef {{min?: number, base?: number, max?: number, stableAfter?: number}} BackoffOptions ms */

/** @param {BackoffOptions} [options] */
export function createBackoff({ min = 250, base = 1000, max = 20_000, stableAfter = 5000 } = {}) {
  const backoff = {
    /** Tries since the last stable connection. */
    attempt: 0,

    /**
     * The wait before the next try, ms. Uniform over the whole window: clients that were dropped
     * together must not reconnect together.
     * @param {number} [hint] the first try's window, in place of `base`
     * @param {number} [floor] a window that is never undercut
     */
    next(hint, floor = 0) {
      const grown = Math.min(max, base * 2 ** backoff.attempt);
      const window = Math.max(floor, backoff.attempt ? grown : (hint ?? grown));
      backoff.attempt += 1;
      return Math.round(min + Math.random() * window);
    },

    /**
     * Notes that a connection ended after `uptime` ms. Connecting alone proves nothing: a gateway that
     * accepts and closes immediately would always be retried after the first delay.
     * @returns {boolean} whether it was stable
     */
    ended(uptime) {
      const stable = uptime >= stableAfter;
      if (stable) backoff.attempt = 0;
      return stable;
    },
  };
  return backoff;
}
