// Holds messages back until the code that awaits a just resolved promise has run.

import { nextTask } from './task.js';

/**
 * Events that follow a join may be in the same packet as its answer: without a pause they would run
 * before the line after `await group.ready` has added its listeners. The queue holds what one task
 * of the socket delivers, no more.
 */
export class Gate {
  #queue = null;
  #running = [];

  hold() {
    if (this.#queue) return;
    const queue = [];
    this.#queue = queue;
    nextTask(() => this.#queue === queue && this.#release());
  }

  run(step) {
    if (this.#queue) this.#queue.push(step);
    else step();
  }

  /** Runs all that waits, now. */
  drain() {
    while (this.#queue) this.#release();
  }

  clear() {
    this.#queue = null;
    this.#running.length = 0;
  }

  #release() {
    const steps = this.#queue;
    this.#running = steps;
    this.#queue = null;
    // A step may hold again; then the rest waits behind what it added.
    while (steps.length && !this.#queue) steps.shift()();
    this.#queue?.push(...steps);
  }
}
