// The event loop, where runtimes differ.

/** A task after this one and its microtasks; unlike timers, not slowed down in hidden pages. */
export function nextTask(callback) {
  if (typeof setImmediate === 'function') return setImmediate(callback);
  if (typeof MessageChannel !== 'function') return setTimeout(callback);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    callback();
  };
  port2.postMessage(0);
}
