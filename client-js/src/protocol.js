// Constants of groupcast.v1.json: names, close codes, sizes, as specified in docs/protocol.md.

import { DEVELOPMENT } from './development.js';
import { GroupcastError } from './errors.js';

export const SUBPROTOCOL = 'groupcast.v1.json';
export const CLIENT = 'groupcast-js/0.1.0';

/** The largest message before `welcome`: the gateway's default, bytes. */
export const MAX_BYTES = 16384;

/** No frame arrived for `ping_ms` and this much more: dead. Same grace as the gateway's. */
export const PING_GRACE_MS = 10_000;

/** The close code for what ends without a close frame (RFC 6455 section 7.1.5). */
export const BROKEN = 1006;
export const UNAUTHORIZED = 4401;
/** The gateway's code for a message over `max_bytes`, and the one of RFC 6455. */
export const TOO_LARGE = [4413, 1009];

// Causes that would also close the next connection: the messages sent, not the network.
const FINAL = [1003, 1007, 1008, 1009];

/** Whether a client should reconnect after a close with `code`. */
export function mayReturn(code) {
  return !(code >= 4400 && code < 4500) && !FINAL.includes(code);
}

/** The reason of a close frame; proxies and other servers may send any text. */
export function parseReason(text) {
  try {
    const { reason = text, retry_ms: retryMs } = JSON.parse(text);
    return { reason, retryMs: retryMs >= 0 ? retryMs : undefined };
  } catch {
    return { reason: text };
  }
}

/** The size of a value on the wire, which counts bytes of UTF-8; of a text as it is. */
export function sizeOf(value) {
  return new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value)).length;
}

/** The error for a message that the gateway would close the connection for; false if it takes it. */
export function tooLarge(bytes, most) {
  return bytes > most
    && new GroupcastError('too_large', DEVELOPMENT ? `${bytes} bytes; the gateway takes ${most}` : `${bytes} > ${most}`);
}

/** `entries` in as few lists as stay under `maxBytes` each, leaving room for the frame around them. */
export function batches(entries, maxBytes) {
  const lists = [];
  let left = 0;
  for (const entry of entries) {
    const bytes = sizeOf(entry) + 1;
    left -= bytes;
    if (left < 0 || lists.at(-1).length === 1024) {
      lists.push([]);
      left = maxBytes - 64 - bytes;
    }
    lists.at(-1).push(entry);
  }
  return lists;
}

/** A WebSocket address from the forms that pages use: `/ws`, `https://…`, `wss://…`. */
export function socketUrl(url) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace(/^http/, 'ws');
  absolute.hash = '';
  return absolute.href;
}
