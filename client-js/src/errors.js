// Errors of the client: one class, with a code for programs.

/** What the client reports: codes of the protocol, and the client's own. */
export class GroupcastError extends Error {
  name = 'GroupcastError';

  /**
   * @param {string} code `docs/protocol.md` section 8, or one of `timeout`, `expired`, `outbox_full`,
   *   `disconnected`, `closed`, `left`, `unauthorized`, `bad_token`, `no_websocket`
   * @param {string | false} message for people; the code where the production build has no sentence
   * @param {boolean} [retry] whether the same request may succeed later
   */
  constructor(code, message, retry = false) {
    super(message || code);
    this.code = code;
    this.retry = retry;
  }
}

/** Thrown by `getToken` if no user is signed in: the client closes instead of retrying. */
export class UnauthorizedError extends GroupcastError {
  name = 'UnauthorizedError';

  constructor(message = 'not signed in') {
    super('unauthorized', message);
  }
}

/** By its code: the application may have the class from another copy of the library. */
export const isSignedOut = ({ code }) => code === 'unauthorized';

/** Whether a client or group ended for a reason other than the application's own `close` or `leave`. */
export const isFailure = ({ code, closeCode }) => code !== 'closed' || closeCode;

/** From an `error` frame or the `error` of a standing. */
export const errorFrom = ({ code, message, retry }) => new GroupcastError(code, message, retry);
