// Time that passes, whatever happens to the clocks: never backwards, and sleep counts.

let wall = Date.now();
let steady = performance.now();
let passed = 0;

/**
 * Milliseconds since some moment. The wall clock can be set back, and the steady one may stand still
 * while a machine sleeps: of each interval the longer of the two counts.
 */
export function clock() {
  const nextWall = Date.now();
  const nextSteady = performance.now();
  passed += Math.max(0, nextWall - wall, nextSteady - steady);
  wall = nextWall;
  steady = nextSteady;
  return passed;
}
