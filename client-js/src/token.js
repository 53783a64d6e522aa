// What is a token, in what `getToken` gives.

import { isToken, trimmed } from './check.js';
import { GroupcastError, UnauthorizedError } from './errors.js';

export const failure = (what) => new GroupcastError('bad_token', `getToken: ${String(what).slice(0, 80)}`, true);

/**
 * A token from what `getToken` gave: text, `{ token }`, or the site's `Response`. A site that fails
 * is asked again, with the error's `status` in mind. One that redirects, or answers with a page, wants a
 * sign-in; of a page as text only a form tells it from a message of failure.
 */
export async function tokenFrom(given) {
  let text = given?.token === undefined ? given : given.token;
  let page = /<(form|input)\b/i;
  if (typeof text?.text === 'function') {
    const { status, ok, redirected } = text;
    // A redirect that was not followed has the status 0.
    if (status && !ok) throw Object.assign(failure(`status ${status}`), { status });
    page = redirected || !status ? /^/ : /^\s*</;
    text = await text.text();
    if (/^\s*{/.test(text)) ({ token: text = text } = JSON.parse(text));
  }
  const token = trimmed(text);
  if (isToken(token)) return token;
  throw token === null || page.test(token) ? new UnauthorizedError() : failure(token);
}
