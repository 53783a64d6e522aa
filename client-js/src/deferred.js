// Promises that are settled from outside and may stay unobserved.

import { GroupcastError } from './errors.js';
import { nextTask } from './task.js';

/** Longest delay that timers take, ms; above it they fire immediately. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

const unwatched = (promise) => {
  promise.catch(() => {});
  return promise;
};

/** @returns {{promise: Promise<any>, resolve: Function, reject: Function}} */
export function deferred() {
  const settle = {};
  settle.promise = new Promise((resolve, reject) => Object.assign(settle, { resolve, reject }));
  // Waiting is the application's choice: `closed` and `$left` report the same, and a rejection that
  // is not awaited would end a Node process.
  unwatched(settle.promise);
  return settle;
}

export const rejected = (error) => unwatched(Promise.reject(error));

/** `promise`, or a `timeout` error after so many ms. What the promise waits for goes on. */
export function within(promise, ms, what) {
  if (ms === Infinity) return unwatched(promise);
  let timer;
  const late = new Promise((_, reject) => {
    const error = () => new GroupcastError('timeout', `${what} within ${ms} ms; still trying`, true);
    timer = setTimeout(() => reject(error()), Math.min(ms, MAX_TIMER_MS));
  });
  return unwatched(Promise.race([promise, late]).finally(() => clearTimeout(timer)));
}

/** Runs when `signal` aborts, immediately if it has; returns a function that removes it. */
export function onAbort(signal, callback) {
  if (signal?.aborted) callback();
  signal?.addEventListener('abort', callback, { once: true });
  return () => signal?.removeEventListener('abort', callback);
}

/**
 * The answer to a request. One that fails without being awaited is passed to `unheeded`
 * instead of ending a Node process.
 */
export class Answer extends Promise {
  static get [Symbol.species]() {
    return Promise;
  }

  then(...callbacks) {
    this.awaited = true;
    return super.then(...callbacks);
  }

  /** @param {(error: Error) => void} unheeded */
  guard(unheeded) {
    const failed = (error) => nextTask(() => this.awaited || unheeded(error));
    Promise.prototype.then.call(this, undefined, failed);
    return this;
  }
}
