// The page of `groupcast dev`: a client of the gateway like any other, and a form that publishes.

import { GroupcastClient } from '/client/v1/groupcast.js';

/** Rows kept on the page. */
const MOST_ROWS = 200;
const CLOCK = {
  hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23',
};
/** Values of more characters are shown over several lines. */
const LONG_VALUE = 60;

const WORDS = {
  en: {
    tagline: 'Events from your back end, in the browser, at once',
    skip: 'Skip to the events', language: 'Language', theme: 'Appearance',
    theme_system: 'System', theme_light: 'Light', theme_dark: 'Dark',
    connection: 'Connection', user: 'User', groups: 'Groups', join: 'Join', join_label: 'Group to join',
    leave: 'Leave {group}', retry: 'Try now', publish: 'Publish an event', group: 'Group', type: 'Type',
    fields: 'Fields, as JSON', send: 'Send', curl: 'Or from any program', copy: 'Copy', copied: 'Copied',
    events: 'Events, newest first', clear: 'Clear', example: 'hello',
    empty: 'Nothing yet. Send an event with the form, or paste the line into a terminal: it appears here at once.',
    idle: 'Starting', connecting: 'Connecting', connected: 'Connected', waiting: 'Waiting', closed: 'Closed',
    in_seconds: 'next try in {n} s', sent: 'Accepted', not_joined: 'Accepted. This page is not in {group}.',
    name_wrong: '1 to 99 letters, digits, “_”, “.” or “-”', type_missing: 'A type is needed',
    fields_wrong: 'A JSON object, such as {"texto": "hola"}', failed: 'Not sent: {why}',
    refused: '{group}: {why}', gap: 'Events of {group} were missed here.',
    gap_lost: '{n} events of {group} were missed here.', gap_possible: 'Away for a moment: events of {group} may have been missed.',
    announced: 'Event {type} in {group}', announced_many: '{n} new events', all: 'everybody',
  },
  es: {
    tagline: 'Los eventos de tu servidor, en el navegador, al instante',
    skip: 'Ir a los eventos', language: 'Idioma', theme: 'Apariencia',
    theme_system: 'Sistema', theme_light: 'Claro', theme_dark: 'Oscuro',
    connection: 'Conexión', user: 'Usuario', groups: 'Grupos', join: 'Unirse', join_label: 'Grupo al que unirse',
    leave: 'Salir de {group}', retry: 'Reintentar', publish: 'Publicar un evento', group: 'Grupo', type: 'Tipo',
    fields: 'Campos, en JSON', send: 'Enviar', curl: 'O desde cualquier programa', copy: 'Copiar', copied: 'Copiado',
    events: 'Eventos, el más nuevo primero', clear: 'Vaciar', example: 'hola',
    empty: 'Nada todavía. Envía un evento con el formulario o pega la línea en una terminal: aparece aquí al instante.',
    idle: 'Empezando', connecting: 'Conectando', connected: 'Conectado', waiting: 'Esperando', closed: 'Cerrado',
    in_seconds: 'próximo intento en {n} s', sent: 'Aceptado', not_joined: 'Aceptado. Esta página no está en {group}.',
    name_wrong: 'De 1 a 99 letras, dígitos, «_», «.» o «-»', type_missing: 'Falta el tipo',
    fields_wrong: 'Un objeto JSON, como {"texto": "hola"}', failed: 'No se envió: {why}',
    refused: '{group}: {why}', gap: 'Aquí se perdieron eventos de {group}.',
    gap_lost: 'Aquí se perdieron {n} eventos de {group}.', gap_possible: 'Sin conexión un momento: pueden faltar eventos de {group}.',
    announced: 'Evento {type} en {group}', announced_many: '{n} eventos nuevos', all: 'todos',
  },
};

const $ = (id) => document.getElementById(id);
let language = 'en';
let client;

/** The text of a key in the language of the page, with its values filled in. */
function t(key, values = {}) {
  return WORDS[language][key].replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** An element with text only: whatever an event holds stays text. */
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Settings, kept in the browser where it allows that.

const stored = {
  get(key) {
    try { return localStorage.getItem(`groupcast.${key}`); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(`groupcast.${key}`, value); } catch { /* private windows */ }
  },
};

function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const part of document.querySelectorAll('[data-t]')) part.textContent = t(part.dataset.t);
  $('language').value = chosen;
  if (!$('fields').dataset.touched) $('fields').value = `{"texto": "${t('example')}"}`;
  showState();
  showGroups();
}

function firstLanguage() {
  const wanted = [stored.get('language'), ...navigator.languages].map((tag) => tag?.slice(0, 2));
  return wanted.find((tag) => tag in WORDS) ?? 'en';
}

function paint(theme) {
  $('theme').value = theme;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

// Connection

let nextTry;
let countdown;

function showState() {
  const state = client?.state ?? 'idle';
  $('state').dataset.state = state;
  $('state-word').textContent = t(state);
  $('retry').hidden = state !== 'waiting' && state !== 'closed';
  $('connection').textContent = client?.id ?? '–';
  clearInterval(countdown);
  $('state-detail').textContent = '';
  if (state === 'waiting' && nextTry) {
    const tick = () => {
      const n = Math.max(0, Math.ceil((nextTry - Date.now()) / 1000));
      $('state-detail').textContent = t('in_seconds', { n });
    };
    tick();
    countdown = setInterval(tick, 500);
  }
}

// Groups: those of the server are shown, those of this page can be left.

const own = new Map();

function showGroups() {
  const groups = [...(client?.groups.values() ?? [])];
  $('groups').replaceChildren(...groups.map(chip));
  $('known-groups').replaceChildren(...groups.map(({ name }) => {
    const option = element('option');
    option.value = name;
    return option;
  }));
}

function chip({ name, state }) {
  const item = element('li', 'chip', name);
  item.dataset.state = state;
  if (!own.has(name)) return item;
  const leave = element('button', '', '×');
  leave.type = 'button';
  leave.setAttribute('aria-label', t('leave', { group: name }));
  leave.addEventListener('click', () => {
    forget(name);
    $('join-group').focus();
  });
  item.append(leave);
  return item;
}

function forget(name) {
  own.get(name).leave();
  own.delete(name);
  showGroups();
  // The frame goes out a moment later; until then the group is still listed.
  setTimeout(showGroups, 300);
}

function follow(name) {
  const group = client.join(name);
  group.on('$joined', showGroups);
  group.on('$gap', (gap) => addNote(gapWords(name, gap)));
  group.on('$left', ({ reason }) => {
    showError('join-group', 'join-error', t('refused', { group: name, why: reason }));
    if (own.has(name)) forget(name);
    showGroups();
  });
  return group;
}

function join(event) {
  event.preventDefault();
  const name = $('join-group').value.trim();
  if (!isName(name)) return showError('join-group', 'join-error', t('name_wrong'));
  showError('join-group', 'join-error', '');
  $('join-group').value = '';
  if (!client.groups.has(name)) own.set(name, follow(name));
  showGroups();
}

const isName = (name) => /^[A-Za-z0-9_.-]{1,99}$/.test(name);

function showError(field, place, words) {
  $(place).textContent = words;
  if (words) $(field).setAttribute('aria-invalid', 'true');
  else $(field).removeAttribute('aria-invalid');
}

// Events

let unannounced = 0;
let received = 0;

function addRow(row) {
  $('events').prepend(row);
  while ($('events').childElementCount > MOST_ROWS) $('events').lastElementChild.remove();
  $('empty').hidden = true;
  $('clear').hidden = false;
}

function clock() {
  const now = new Date();
  const time = element('time', '', now.toLocaleTimeString(language, CLOCK));
  time.dateTime = now.toISOString();
  return time;
}

function addEvent({ event, group, data }) {
  const row = element('li', 'event');
  const head = element('header');
  head.append(element('strong', '', event), element('span', 'group', group ?? t('all')), clock());
  const list = element('dl');
  for (const [name, value] of Object.entries(data)) {
    if (name === 'type') continue;
    list.append(element('dt', '', name), element('dd', '', shown(value)));
  }
  row.append(head);
  if (list.childElementCount) row.append(list);
  addRow(row);
  received += 1;
  $('count').textContent = new Intl.NumberFormat(language).format(received);
  announce(t('announced', { type: event, group: group ?? t('all') }));
}

function shown(value) {
  if (typeof value === 'string') return value;
  const line = JSON.stringify(value);
  return line.length > LONG_VALUE ? JSON.stringify(value, null, 2) : line;
}

function addNote(words) {
  const row = element('li', 'note', words);
  row.append(clock());
  addRow(row);
}

function gapWords(group, { possible, lost }) {
  if (possible) return t('gap_possible', { group });
  return lost === undefined ? t('gap', { group }) : t('gap_lost', { group, n: lost });
}

/** Notifies screen readers at most once a second, so that a burst becomes one sentence. */
function announce(words) {
  unannounced += 1;
  if (unannounced > 1) return;
  setTimeout(() => {
    $('spoken').textContent = unannounced === 1 ? words : t('announced_many', { n: unannounced });
    unannounced = 0;
  }, 1000);
}

// Publishing

function readForm() {
  const group = $('group').value.trim();
  const type = $('type').value.trim();
  let fields;
  try {
    fields = JSON.parse($('fields').value.trim() || '{}');
  } catch {
    fields = null;
  }
  const isObject = fields !== null && typeof fields === 'object' && !Array.isArray(fields);
  showError('group', 'group-error', isName(group) ? '' : t('name_wrong'));
  showError('type', 'type-error', type ? '' : t('type_missing'));
  showError('fields', 'fields-error', isObject ? '' : t('fields_wrong'));
  const wrong = $('publish').querySelector('[aria-invalid]');
  wrong?.focus();
  return wrong ? null : { group, event: { type, ...fields } };
}

async function publish(submitted) {
  submitted.preventDefault();
  const form = readForm();
  if (!form) return;
  const { group, event } = form;
  try {
    const response = await fetch(`/dev/send/${encodeURIComponent(group)}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(event),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.detail ?? answer.title ?? response.status);
    $('sent').textContent = t(client.groups.has(group) ? 'sent' : 'not_joined', { group });
  } catch ({ message }) {
    $('sent').textContent = t('failed', { why: message });
  }
}

async function copy() {
  try {
    await navigator.clipboard.writeText($('curl').textContent);
    $('copy').textContent = t('copied');
    setTimeout(() => { $('copy').textContent = t('copy'); }, 1500);
  } catch {
    getSelection().selectAllChildren($('curl'));
  }
}

// Start

async function session(signal) {
  const response = await fetch('/dev/session', { signal });
  if (!response.ok) throw new Error(`/dev/session answers ${response.status}`);
  const dev = await response.json();
  $('sub').textContent = dev.sub;
  $('curl').textContent = dev.curl.replaceAll(' -H ', ' \\\n  -H ').replace(' -d ', ' \\\n  -d ');
  return dev;
}

function connect({ url, group, token }) {
  let first = token;
  // A gateway that was started again has other keys: the page asks for the token of the day.
  const getToken = async ({ signal }) => {
    const atHand = first;
    first = undefined;
    return atHand ?? (await session(signal)).token;
  };
  client = new GroupcastClient(url, { getToken });
  client.on('state', () => {
    showState();
    showGroups();
  });
  client.on('waiting', ({ at }) => {
    nextTry = at;
    showState();
  });
  client.on('event', addEvent);
  follow(group);
  $('group').value ||= group;
}

async function start() {
  paint(stored.get('theme') ?? '');
  speak(firstLanguage());
  $('language').addEventListener('change', ({ target }) => {
    stored.set('language', target.value);
    speak(target.value);
  });
  $('theme').addEventListener('change', ({ target }) => {
    stored.set('theme', target.value);
    paint(target.value);
  });
  $('publish').addEventListener('submit', publish);
  $('fields').addEventListener('input', ({ target }) => { target.dataset.touched = 'yes'; });
  $('fields').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('publish').requestSubmit();
  });
  $('join').addEventListener('submit', join);
  $('copy').addEventListener('click', copy);
  $('retry').addEventListener('click', () => client.reconnect());
  $('clear').addEventListener('click', () => {
    $('events').replaceChildren();
    $('empty').hidden = false;
    $('clear').hidden = true;
    $('events').focus();
  });
  connect(await session());
}

start();
