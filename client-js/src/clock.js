// A clock that never goes backwards and includes time asleep.

let wall = Date.now();
let steady = performance.now();
let passed = 0;

/**
 * Milliseconds since some moment. The wall clock can be set back, and the monotonic one may stop
 * while a machine sleeps, so the longer interval of the two is used.
 */
export function clock() {
  const nextWall = Date.now();
  const nextSteady = performance.now();
  passed += Math.max(0, nextWall - wall, nextSteady - steady);
  wall = nextWall;
  steady = nextSteady;
  return passed;
}
