// A group as the application sees it.

/** Made by `client.join`; the same object for the same name while anybody holds it. */
export class Group {
  #membership;
  #client;

  constructor(membership, client) {
    this.#membership = membership;
    this.#client = client;
  }

  get name() {
    return this.#membership.name;
  }

  get state() {
    return this.#membership.state;
  }

  get position() {
    return this.#membership.position;
  }

  /** Why `state` is `closed`. */
  get error() {
    return this.#membership.error;
  }

  /** Resolves once joined; rejects when refused, left or closed. */
  get ready() {
    return this.#membership.ready;
  }

  /**
   * Listens to events by their `type`, to all (`*`: the message alone), or to what happens to the
   * membership: `$joined`, `$gap`, `$left`.
   * @returns {() => void} removes the listener
   */
  on(event, callback, options) {
    return this.#membership.on(event, callback, options);
  }

  /** Publishes an event to the group, where granted. */
  send(data, options) {
    return this.#client.send(this.name, data, options);
  }

  /** Undoes one `join`; the last one leaves the group and drops its listeners. */
  leave() {
    this.#client.leave(this.name);
  }
}
