// Holds messages back until the code that awaits a just resolved promise has run.

import { nextTask } from './timer.js';

/**
 * Events that follow a join may be in the same packet as its answer: without a pause they would run
 * before the line after `await group.ready` has added its listeners. The queue holds what one task
 * of the socket delivers, no more.
 */
export function createGate() {
  let queue = null;
  let running = [];

  function release() {
    const steps = (running = queue);
    queue = null;
    // A step may hold again; then the rest waits behind what it added.
    while (steps.length && !queue) steps.shift()();
    queue?.push(...steps);
  }

  return {
    hold() {
      if (queue) return;
      const held = (queue = []);
      nextTask(() => queue === held && release());
    },
    run(step) {
      if (queue) queue.push(step);
      else step();
    },
    /** Runs all that waits, now. */
    drain() {
      while (queue) release();
    },
    clear() {
      queue = null;
      running.length = 0;
    },
  };
}
