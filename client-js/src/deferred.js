// A promise that is settled from outside, and that nobody has to watch.

/** @returns {{promise: Promise<any>, resolve: Function, reject: Function}} */
export function deferred() {
  const settle = {};
  settle.promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  // Waiting is the application's choice: `closed` and `$left` report the same, and a rejection that
  // nobody awaits would end a Node process.
  settle.promise.catch(() => {});
  return settle;
}
