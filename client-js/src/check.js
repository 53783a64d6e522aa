// Checks the arguments of applications: a mistake fails immediately and affects nothing else.

import { GroupcastError } from './errors.js';

const isText = (value) => typeof value === 'string';

/** A value for an error message: short, and safe for any value. */
function shown(value) {
  if (isText(value)) return JSON.stringify(value.slice(0, 80));
  return typeof value === 'object' && value ? 'an object' : String(value);
}

/** @param {boolean} right */
function check(right, code, what, value) {
  if (!right) throw new GroupcastError(code, `${what}; got ${shown(value)}`);
}

export function checkName(name) {
  const right = isText(name) && /^(?!\.+$)[\w.-]{1,99}$/.test(name);
  check(right, 'illegal_name', 'a group name is 1 to 99 of A-Z a-z 0-9 _ . -, not only dots', name);
}

/** @returns {{epoch: string, offset: number} | undefined} a copy */
export function checkSince(since) {
  if (since === undefined || since === null) return undefined;
  const { epoch, offset } = since;
  const right = isText(epoch) && Number.isSafeInteger(offset) && offset >= 0;
  check(right, 'bad_request', '`since` is { epoch, offset }', since);
  return { epoch, offset };
}

export function checkEvent(data) {
  const type = data?.type;
  check(isText(type) && !Array.isArray(data), 'invalid_event', 'an event is an object with a string `type`', data);
  // Names that begin with `$`, and `*`, are the client's own: they cannot be sent.
  check(type !== '*' && !type.startsWith('$'), 'invalid_event', '`*` and types with `$` in front are reserved', type);
}

/** Names of calls, event names and keys. */
export function checkText(what, value) {
  check(isText(value) && value, 'bad_request', `${what} is a string`, value);
}

export function checkTimeout(timeout) {
  check(typeof timeout === 'number' && timeout >= 0, 'bad_request', '`timeout` is milliseconds', timeout);
}

export const trimmed = (token) => (isText(token) ? token.trim() : token);

/** Printable and without spaces; a page of HTML, JSON and a sentence are no tokens. */
export const isToken = (text) => isText(text) && /^[!-~]+$/.test(text) && !/^(<[a-z!]+[>/]|[{["])/i.test(text);

/** @returns {string | undefined} */
export function checkToken(given) {
  if (given === undefined || given === null) return undefined;
  const token = trimmed(given);
  check(isToken(token), 'bad_token', 'a token has no spaces', given);
  return token;
}
