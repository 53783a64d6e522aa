// Recently seen ids, for groups without positions: an event that arrives twice is delivered once.

export class Recent {
  #ids = new Set();
  #limit;

  constructor(limit = 512) {
    this.#limit = limit;
  }

  /** @returns {boolean} whether `id` is new */
  add(id) {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > this.#limit) this.#ids.delete(this.#ids.values().next().value);
    return true;
  }
}
