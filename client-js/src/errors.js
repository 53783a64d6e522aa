// Errors of the client: one class, with a code for programs.

/** What the client reports: codes of the protocol, and the client's own. */
export class GroupcastError extends Error {
  /**
   * @param {string} code `docs/protocol.md` section 8, or one of `timeout`, `expired`, `outbox_full`,
   *   `disconnected`, `closed`, `left`, `unauthorized`, `bad_token`, `no_websocket`
   * @param {string} message for people
   * @param {boolean} [retry] whether the same request may succeed later
   */
  constructor(code, message, retry = false) {
    super(message);
    this.name = 'GroupcastError';
    this.code = code;
    this.retry = retry;
  }

  /** From an `error` frame or the `error` of a standing. */
  static from({ code, message, retry }) {
    return new GroupcastError(code, message, retry);
  }
}

/** Thrown by `getToken` if no user is signed in: the client closes instead of retrying. */
export class UnauthorizedError extends GroupcastError {
  constructor(message = 'not signed in') {
    super('unauthorized', message);
    this.name = 'UnauthorizedError';
  }
}

export const tooLarge = (bytes, most) => (
  new GroupcastError('too_large', `${bytes} bytes; the gateway takes ${most}`)
);
