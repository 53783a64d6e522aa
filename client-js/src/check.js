// Checks the arguments of applications: a mistake fails immediately and affects nothing else.

import { DEVELOPMENT } from './development.js';
import { GroupcastError } from './errors.js';

/** What is allowed, by the name of the value. */
const RULES = {
  group: 'a group name is 1 to 99 of A-Z a-z 0-9 _ . -, not only dots',
  since: '`since` is { epoch, offset }',
  event: 'an event is an object with a string `type`',
  type: '`*` and types with `$` in front are reserved',
  timeout: '`timeout` is milliseconds',
  buffer: '`buffer` is a number of messages, 1 or more',
  token: 'a token has no spaces',
  signal: '`signal` is an AbortSignal',
};

const isText = (value) => typeof value === 'string';

/** A value for an error message: short, and safe for any value. */
function shown(value) {
  if (isText(value)) return JSON.stringify(value.slice(0, 80));
  return typeof value === 'object' && value ? 'an object' : String(value);
}

/** The message for a value that is not allowed. */
const refusal = DEVELOPMENT
  ? (name, value) => `${RULES[name] ?? `${name} is a string`}; got ${shown(value)}`
  : (name, value) => `${name}: ${isText(value) ? value.slice(0, 80) : value && typeof value}`;

/** @param {unknown} right */
export function check(right, code, name, value) {
  if (!right) throw new GroupcastError(code, refusal(name, value));
}

export function checkName(name) {
  check(isText(name) && /^(?!\.+$)[\w.-]{1,99}$/.test(name), 'illegal_name', 'group', name);
}

/** @returns {{epoch: string, offset: number} | undefined} a copy */
export function checkSince(since) {
  if (since === undefined || since === null) return undefined;
  const { epoch, offset } = since;
  const right = isText(epoch) && Number.isSafeInteger(offset) && offset >= 0;
  check(right, 'bad_request', 'since', since);
  return { epoch, offset };
}

export function checkEvent(data) {
  const type = data?.type;
  check(isText(type) && !Array.isArray(data), 'invalid_event', 'event', data);
  // Names that begin with `$`, and `*`, are the client's own: they cannot be sent.
  check(!isReserved(type), 'invalid_event', 'type', type);
}

/** Whether an event name is the client's own: no sender can pretend what it stands for. */
export const isReserved = (type) => type === '*' || type[0] === '$';

/** Names of calls, event names and keys. */
export function checkText(name, value) {
  check(isText(value) && value, 'bad_request', name, value);
}

/** What bounds a wait. */
export function checkWait(timeout, signal) {
  check(typeof timeout === 'number' && timeout >= 0, 'bad_request', 'timeout', timeout);
  check(!signal || signal.addEventListener, 'bad_request', 'signal', signal);
}

export const trimmed = (token) => (isText(token) ? token.trim() : token);

/** Printable and without spaces; a page of HTML, JSON and a sentence are no tokens. */
export const isToken = (text) => isText(text) && /^(?!<\w+>|[{["])[!-~]+$/.test(text);

/** @returns {string | undefined} */
export function checkToken(given) {
  if (given === undefined || given === null) return undefined;
  const token = trimmed(given);
  check(isToken(token), 'bad_token', 'token', given);
  return token;
}

/** What is passed once, where it is written: only the development build looks at it. */
export function checkOptions({ connectTimeout, backoff, outbox, getToken, WebSocket }) {
  const refuse = (name, what, value) => {
    throw new GroupcastError('bad_request', `the option ${name} is ${what}; got ${shown(value)}`);
  };
  for (const [name, value] of Object.entries({ connectTimeout, ...backoff, ...outbox })) {
    const right = typeof value === 'number' && value >= 0;
    if (value !== undefined && !right) refuse(name, 'a number', value);
  }
  for (const [name, value] of Object.entries({ getToken, WebSocket })) {
    if (value && typeof value !== 'function') refuse(name, 'a function', value);
  }
}
