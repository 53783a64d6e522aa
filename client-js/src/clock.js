// A clock that never goes backwards and includes time asleep.

/** By how much the two clocks may drift apart until one counts as set or as stopped, ms. */
const DRIFT_MS = 1000;

const ahead = () => Date.now() - performance.now();

let offset = ahead();
let slept = 0;

/**
 * Milliseconds since some moment. The monotonic clock may stop while a machine sleeps: what the wall
 * clock jumps forward counts as passed. What it is set back does not.
 */
export function clock() {
  const jumped = ahead() - offset;
  if (Math.abs(jumped) > DRIFT_MS) {
    offset += jumped;
    slept += Math.max(0, jumped);
  }
  return performance.now() + slept;
}
