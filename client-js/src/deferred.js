// Promises that are settled from outside and may stay unobserved.

import { DEVELOPMENT } from './development.js';
import { GroupcastError } from './errors.js';
import { after, nextTask } from './timer.js';

/**
 * Waiting is the application's choice: `closed` and `$left` report the same, and a rejection that is
 * not awaited would end a Node process.
 */
export function unwatched(promise) {
  promise.catch(() => {});
  return promise;
}

/** @returns {{promise: Promise<any>, fulfil: Function, refuse: Function}} */
export function deferred() {
  const settle = {};
  settle.promise = unwatched(new Promise((resolve, reject) => {
    settle.fulfil = resolve;
    settle.refuse = reject;
  }));
  return settle;
}

/** `promise`, or a `timeout` error after so many ms. What the promise waits for goes on. */
export function within(promise, ms, what) {
  return unwatched(new Promise((resolve, reject) => {
    const timer = after(ms, () => reject(
      new GroupcastError('timeout', DEVELOPMENT ? `${what} within ${ms} ms; still trying` : what, true),
    ));
    promise.finally(() => clearTimeout(timer)).then(resolve, reject);
  }));
}

/** Runs when `signal` aborts, immediately if it has; returns a function that removes it. */
export function onAbort(signal, callback) {
  if (signal?.aborted) callback();
  else signal?.addEventListener('abort', callback, { once: true });
  return () => signal?.removeEventListener('abort', callback);
}

/**
 * The answer to a request. One that fails without being awaited is passed to `unheeded`
 * instead of ending a Node process.
 */
export class Answer extends Promise {
  then(...callbacks) {
    this.awaited = true;
    return super.then(...callbacks);
  }

  /** @param {(error: Error) => void} unheeded */
  guard(unheeded) {
    super.then(undefined, (error) => nextTask(() => this.awaited || unheeded(error)));
    return this;
  }
}
