// What applications hand in, checked where they hand it in: a mistake fails alone and at once.

import { GroupcastError } from './errors.js';

const NAME = /^(?!\.+$)[\w.-]{1,99}$/;

/** A value in an error: short, and safe whatever it is. */
function shown(value) {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  return typeof value === 'object' && value ? 'an object' : String(value);
}

const refuse = (code, what, value) => {
  throw new GroupcastError(code, `${what}; got ${shown(value)}`);
};

export function checkName(name) {
  if (typeof name !== 'string' || !NAME.test(name)) {
    refuse('illegal_name', 'a group name is 1 to 99 of A-Z a-z 0-9 _ . - and not dots alone', name);
  }
}

/** @returns {{epoch: string, offset: number} | undefined} a copy */
export function checkSince(since) {
  if (since === undefined || since === null) return undefined;
  const { epoch, offset } = since;
  if (typeof epoch !== 'string' || !Number.isSafeInteger(offset) || offset < 0) {
    refuse('bad_request', '`since` is { epoch: string, offset: integer from 0 }', since);
  }
  return { epoch, offset };
}

/** Names that begin with `$`, and `*`, are the client's own: nobody may send them. */
export const isReserved = (type) => type === '*' || type.startsWith('$');

export function checkEvent(data) {
  if (typeof data?.type !== 'string' || Array.isArray(data)) {
    refuse('invalid_event', 'an event is an object with a string `type`', data);
  }
  if (isReserved(data.type)) {
    refuse('invalid_event', 'types that begin with `$`, and `*`, are reserved', data.type);
  }
}

/** Names of calls, event names and keys. */
export function checkText(what, value) {
  if (typeof value !== 'string' || value === '') refuse('bad_request', `${what} is a string`, value);
}

export function checkTimeout(timeout) {
  if (typeof timeout !== 'number' || !(timeout >= 0)) {
    refuse('bad_request', '`timeout` is milliseconds, from 0', timeout);
  }
}

/** Printable and without spaces; a page of HTML, JSON and a sentence are no tokens. */
export const isToken = (text) => (
  typeof text === 'string' && /^[!-~]+$/.test(text) && !/^(<[a-z!]+[>/]|[{["])/i.test(text)
);

/** @returns {string | undefined} */
export function checkToken(token) {
  if (token === undefined || token === null) return undefined;
  const trimmed = typeof token === 'string' ? token.trim() : token;
  if (!isToken(trimmed)) refuse('bad_token', 'a token is printable, without spaces', token);
  return trimmed;
}
