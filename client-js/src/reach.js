// How public objects reach their private state, even through a Proxy.

const BEHIND = Symbol('groupcast');

/**
 * Vue's `reactive`, Alpine and others hand out a Proxy in place of an object, on which private fields
 * throw, and wrap every object that is read through it, so that identities no longer hold. Functions
 * they leave alone: the public object keeps one that returns the real thing.
 */
export function place(object, behind) {
  const value = () => behind;
  Object.defineProperty(object, BEHIND, { value, configurable: true, writable: true });
}

export const behind = (object) => object[BEHIND]();

/** Gives the class the methods of what is behind it, and `using` the one that ends it. */
export function forward({ prototype }, end, names) {
  const define = (name, method) => {
    const value = function forwarded(...args) {
      return behind(this)[method](...args);
    };
    Object.defineProperty(prototype, name, { value, configurable: true, writable: true });
  };
  for (const name of names) define(name, name);
  define(Symbol.dispose ?? Symbol.for('Symbol.dispose'), end);
}
