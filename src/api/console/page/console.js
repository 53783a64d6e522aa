// The frame of the console: signing in, the stream, and which view is shown.

import { h } from './parts.js';
import { views } from './views.js';
import { current, languages, speak, t } from './words.js';

const POINTS = 120;
const RETRY = 2000;

const $ = (id) => document.getElementById(id);
const main = $('main');
let key = sessionStorage.getItem('groupcast-key') ?? '';
let rights = [];
let end = null;
let newest = null;
const history = new Map();
const listeners = new Set();

/** A request with the key; throws what the gateway answered if that is no success. */
async function request(path, options = {}) {
  const headers = { authorization: `Bearer ${key}`, ...options.headers };
  const response = await fetch(path, { ...options, headers, cache: 'no-store' });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `HTTP ${response.status}`), { code: problem.code, status: response.status });
}

/** What is said of a failure. */
function words(error) {
  if (['key_unknown', 'forbidden', 'too_many_guesses'].includes(error.code)) return `${t(error.code)} (${error.message})`;
  return error.status ? t('failed', error.message) : t('away');
}

/** Data of the console; a failure is told in `place`. */
async function ask(path, query, place) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null && value !== undefined);
  try {
    return await (await request(`${path}?${new URLSearchParams(given)}`)).json();
  } catch (error) {
    if (error.status === 401) return leave(words(error));
    place.replaceChildren(h('p', { class: 'bad note' }, words(error)));
    return null;
  }
}

/** A change; the text of its failure, if it fails. The gateway logs it with the key's name. */
async function change(method, path, body, done) {
  try {
    const headers = { 'groupcast-console': '1', ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
    const response = await request(path, { method, body, headers });
    // Some changes are accepted without a word.
    done?.(await response.json().catch(() => null));
    return null;
  } catch (error) {
    return words(error);
  }
}

/** Has `listener` called with each overview; the function ends it. */
function stream(listener) {
  listeners.add(listener);
  if (newest) listener(newest, history);
  return () => listeners.delete(listener);
}

function take(overview) {
  newest = overview;
  const live = new Set();
  for (const snapshot of overview.instances) {
    live.add(snapshot.instance);
    const points = history.get(snapshot.instance) ?? [];
    points.push(snapshot);
    history.set(snapshot.instance, points.slice(-POINTS));
  }
  for (const instance of history.keys()) if (!live.has(instance)) history.delete(instance);
  for (const listener of listeners) listener(overview, history);
}

let open = null;

/** Follows the stream while the page is seen. */
async function follow() {
  open?.abort();
  const own = open = new AbortController();
  while (key && !own.signal.aborted) {
    try {
      const response = await request('/console/stream', { signal: own.signal });
      say('live');
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = ''; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (text + value).split('\n\n');
        text = events.pop();
        for (const event of events) take(JSON.parse(event.slice('data: '.length)));
      }
    } catch (error) {
      if (own.signal.aborted) return;
      if (error.status === 401) return void leave(words(error));
      say('away');
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}

function say(state) {
  $('link').textContent = t(state);
  $('link').dataset.state = state;
}

document.addEventListener('visibilitychange', () => {
  if (!key || !rights.length) return;
  if (!document.hidden) return void follow();
  open?.abort();
  say('paused');
});

function translate() {
  document.documentElement.lang = current();
  for (const element of document.querySelectorAll('[data-t]')) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll('[data-a]')) element.setAttribute('aria-label', t(element.dataset.a));
}

/** Shows the view that the address names: `#why?sub=7&group=a`. */
function show() {
  end?.();
  end = null;
  const [name, query] = location.hash.slice(1).split('?');
  const view = views[name] ? name : 'now';
  const fields = Object.fromEntries(new URLSearchParams(query ?? ''));
  document.title = `${t(view)} – Groupcast`;
  const link = (it) => h('li', {}, h('a', { href: `#${it}`, 'aria-current': it === view ? 'page' : null }, t(it)));
  $('nav').replaceChildren(h('ul', {}, Object.keys(views).map(link)));
  main.replaceChildren(h('h2', {}, t(view)), h('p', { class: 'hint' }, t(`${view}_hint`)));
  end = views[view](main, { ask, change, stream, rights, fields }) ?? null;
}

/** The form that asks for the key. */
function signIn(text = '') {
  const note = h('p', { class: 'bad note', role: 'alert' }, text);
  const field = h('input', { type: 'password', name: 'key', autocomplete: 'current-password', required: true, id: 'key' });
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    key = field.value.trim();
    try {
      await enter();
    } catch (error) {
      key = '';
      note.textContent = words(error);
      field.select();
    }
  } }, h('label', { for: 'key' }, t('key')), field, h('button', { class: 'main' }, t('enter')));
  document.title = `${t('sign_in')} – Groupcast`;
  main.replaceChildren(h('div', { class: 'card' }, h('h2', {}, t('sign_in')), h('p', { class: 'hint' }, t('sign_in_hint')), form, note));
  field.focus();
}

async function enter() {
  const overview = await (await request('/console/snapshot')).json();
  sessionStorage.setItem('groupcast-key', key);
  rights = overview.key.rights;
  $('nav').hidden = $('leave').hidden = false;
  take(overview);
  follow();
  show();
  main.focus({ preventScroll: true });
}

function leave(text) {
  key = '';
  rights = [];
  newest = null;
  open?.abort();
  end?.();
  end = null;
  history.clear();
  sessionStorage.removeItem('groupcast-key');
  $('nav').hidden = $('leave').hidden = true;
  $('link').textContent = '';
  signIn(text);
  return null;
}

$('leave').addEventListener('click', () => leave(''));
$('language').addEventListener('change', ({ target }) => {
  localStorage.setItem('groupcast-language', target.value);
  speak(target.value);
  translate();
  if (rights.length) { show(); say($('link').dataset.state ?? 'live'); } else signIn();
});
$('theme').addEventListener('change', ({ target }) => {
  localStorage.setItem('groupcast-theme', target.value);
  document.documentElement.dataset.theme = target.value;
});
window.addEventListener('hashchange', () => { if (rights.length) { show(); main.focus({ preventScroll: true }); scrollTo(0, 0); } });

const wanted = [localStorage.getItem('groupcast-language'), ...navigator.languages.map((it) => it.slice(0, 2))];
speak(wanted.find((it) => languages.includes(it)));
$('language').value = current();
document.documentElement.dataset.theme = $('theme').value = localStorage.getItem('groupcast-theme') ?? '';
translate();
if (key) enter().catch((error) => leave(words(error))); else signIn();
