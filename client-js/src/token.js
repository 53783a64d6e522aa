// What is a token, in what `getToken` gives.

import { isToken, trimmed } from './check.js';
import { GroupcastError, UnauthorizedError } from './errors.js';

const failure = (what) => new GroupcastError('bad_token', `getToken: ${String(what).slice(0, 80)}`, true);

/**
 * A token from what `getToken` gave: text, `{ token }`, or the site's `Response`. A site that fails
 * is asked again, with the error's `status` in mind; one that shows its sign-in page requires a sign-in.
 */
export async function tokenFrom(given) {
  let text = given?.token ?? given;
  if (typeof text?.text === 'function') {
    const { status, ok } = text;
    if (!ok) throw Object.assign(failure(`status ${status}`), { status });
    text = await text.text();
    if (/^\s*{/.test(text)) text = JSON.parse(text).token;
  }
  const token = trimmed(text);
  if (isToken(token)) return token;
  throw text === null || /<(form|input)\b/i.test(token) ? new UnauthorizedError() : failure(token);
}
