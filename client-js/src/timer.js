// Timers and the event loop, where runtimes differ.

/** Longest delay that timers take, ms; above it they fire immediately. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Runs `callback` after so many ms; never if they are infinite or unknown. */
export function after(ms, callback) {
  if (ms < Infinity) return setTimeout(callback, Math.min(ms, MAX_TIMER_MS));
}

/** A task after this one and its microtasks; unlike timers, not slowed down in hidden pages. */
export function nextTask(callback) {
  if (globalThis.setImmediate) return setImmediate(callback);
  if (!globalThis.MessageChannel) return setTimeout(callback);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    callback();
  };
  port2.postMessage(0);
}
