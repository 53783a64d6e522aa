// The views. Each returns what it shows, and may return a function that ends it.

import {
  bytes, choice, clock, confirm, every, field, h, line, long, lost, metrics, ms, number, rate, renew, right, silence, span, table,
} from './parts.js';
import { sources, tasks } from './operations.js';
import { current, t } from './words.js';

const ROWS = [
  ['connections', (it) => it.connections, number], ['groups', (it) => it.groups, number],
  ['m_publications', (it) => it.publications, rate], ['m_deliveries', (it) => it.deliveries, rate],
  ['m_drops', (it) => it.drops, rate], ['m_gaps', (it) => it.gaps, rate],
  ['m_joins', (it) => it.joins, rate], ['m_closes', (it) => it.closes, rate],
  ['m_p50', (it) => it.p50, ms], ['m_p99', (it) => it.p99, ms], ['m_probe', (it) => it.probe, ms],
  ['m_outbox_bytes', (it) => it.outbox_bytes, bytes], ['m_memory', (it) => it.memory, bytes],
];

function now(root, { stream }) {
  const place = h('div');
  const busiest = h('div');
  let shown = '';
  let cells = [];
  const build = (instances) => {
    cells = [];
    const rows = ROWS.map(([key, value, format]) => [t(key), ...instances.map(({ instance }) => {
      const { svg, draw } = line();
      const text = h('span');
      cells.push({ instance, value, format, draw, text });
      return h('td', {}, text, svg);
    })]);
    const plain = (key, value) => [t(key), ...instances.map(({ instance }) => {
      const text = h('span');
      cells.push({ instance, plain: value, text });
      return h('td', {}, text);
    })];
    rows.push(plain('m_layer', layer), plain('m_uptime', (it) => span(it.uptime)), plain('version', (it) => it.version));
    place.replaceChildren(table(t('now'), [t('metric'), ...instances.map((it) => it.instance)], rows, { class: 'now' }));
  };
  const end = stream((overview, history) => {
    const names = overview.instances.map((it) => it.instance).join() + current();
    if (names !== shown) build(overview.instances);
    shown = names;
    for (const cell of cells) {
      const snapshot = overview.instances.find((it) => it.instance === cell.instance);
      if (!snapshot) continue;
      if (cell.plain) { cell.text.textContent = cell.plain(snapshot); continue; }
      cell.text.textContent = cell.format(cell.value(snapshot));
      cell.draw((history.get(cell.instance) ?? []).map((it) => cell.value(it) ?? 0));
    }
    const hot = new Map();
    for (const { hot: groups } of overview.instances) {
      for (const it of groups) {
        const known = hot.get(it.name) ?? { name: it.name, rate: 0, members: 0 };
        known.rate = Math.max(known.rate, it.rate);
        known.members += it.members;
        hot.set(it.name, known);
      }
    }
    const rows = [...hot.values()].sort((a, b) => b.rate - a.rate).slice(0, 20)
      .map((it) => [it.name, right(rate(it.rate)), right(number(it.members))]);
    busiest.replaceChildren(table(t('busiest'), [t('group'), t('m_publications'), t('members')], rows), silence(overview.silent) ?? '');
  });
  root.append(place, h('h3', {}, t('busiest')), busiest);
  return end;
}

const layer = (it) => it.refusal ?? (it.delivering ? t(it.lossless ? 'layer_good' : 'layer_losing') : t('layer_away'));

function why(root, { ask, fields }) {
  const answer = h('div', { 'aria-live': 'polite' });
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    const data = new FormData(form);
    const query = { sub: data.get('sub'), group: data.get('group'), language: current() };
    if (data.get('at')) query.at = Math.floor(new Date(data.get('at')).getTime() / 1000);
    answer.replaceChildren(h('p', {}, t('loading')));
    const found = await ask('/console/why', query, answer);
    if (!found) return;
    const sentence = (it) => h('li', { class: it.is_cause ? 'cause' : '', 'data-code': it.code },
      h('strong', {}, it.is_cause ? `✗ ${t('cause')}` : t('fact')), it.text, ' ',
      h('span', { class: 'hint' }, t('explained', it.page)));
    answer.replaceChildren(
      found.cause ? '' : h('p', { class: 'good note' }, `✓ ${t('nothing_wrong')}`),
      h('ol', { class: 'found' }, found.sentences.map(sentence)),
      h('h3', {}, t('his_connections')),
      connectionTable(found.receipt.connections.map((it) => it.row)), silence(found.silent) ?? '');
  } },
  field('sub', t('user'), { required: true, maxlength: 255 }), field('group', t('group'), { maxlength: 99 }),
  field('at', t('at'), { type: 'datetime-local', step: 1 }), h('button', { class: 'main' }, t('ask')));
  fill(form, fields);
  root.append(form, answer);
}

const fill = (form, values) => {
  for (const [name, value] of Object.entries(values)) {
    const known = form.elements.namedItem(name);
    if (known) known.value = value;
  }
};

function groups(root, { ask }) {
  const place = h('div');
  const form = h('form', { onsubmit: (event) => { event.preventDefault(); load(); } },
    field('search', t('search'), { maxlength: 99 }),
    choice('order', t('order'), ['members', 'sent', 'dropped', 'name'].map((it) => [it, t(`o_${it}`)])),
    h('button', { class: 'main' }, t('show')));
  const load = async () => {
    const data = Object.fromEntries(new FormData(form));
    const found = await ask('/console/groups', { ...data, rows: 100 }, place);
    if (!found) return;
    const rows = found.groups.map((it) => [it.name, right(number(it.members)), right(number(it.sent)),
      right(number(it.waiting)),
      right(number(lost(it.dropped))), right(number(it.offset)), right(span(it.quiet))]);
    const heads = ['group', 'members', 'sent', 'waiting', 'dropped', 'offset', 'quiet'].map((it) => t(it));
    renew(place, table(t('groups'), heads, rows), silence(found.silent) ?? '');
  };
  root.append(form, place);
  return every(5000, load);
}

function connectionTable(rows, close) {
  const heads = ['id', 'user', 'age', 'protocol', 'peer', 'waiting', 'sent', 'dropped', 'round_trip', 'heard', 'groups'].map((it) => t(it));
  if (close) heads.push(h('span', { class: 'unseen' }, t('close')));
  return table(t('connections'), heads, rows.map((it) => {
    const cells = [it.id, long(it.sub), right(span(it.age)), it.v1 ? 'v1' : `plain ${it.path}`, it.peer,
      right(`${number(it.waiting)} · ${bytes(it.waiting_bytes)}`), right(number(it.sent)), right(number(lost(it.dropped))),
      right(ms(it.round_trip)), right(span(it.silent)), long(it.groups.join(', ') + (it.memberships > it.groups.length ? ', …' : ''))];
    if (close) cells.push(h('button', { type: 'button', 'data-key': it.id, onclick: () => close(it) }, t('close')));
    return cells;
  }));
}

function connectionList(root, context, fixed, form) {
  const place = h('div');
  const note = h('p', { class: 'note', role: 'status' });
  const close = context.rights.includes('close') && ((it) => confirmClose(it, context, note, load));
  const load = async () => {
    const data = form ? Object.fromEntries([...new FormData(form)].filter(([, value]) => value)) : {};
    const found = await context.ask('/console/connections', { rows: 100, ...data, ...fixed }, place);
    if (found) renew(place, connectionTable(found.connections, close), silence(found.silent) ?? '');
  };
  form?.addEventListener('submit', (event) => { event.preventDefault(); load(); });
  root.append(...(form ? [form] : []), note, place);
  return every(5000, load);
}

const confirmClose = (it, context, note, after) => confirm(context, note, {
  title: t('close_title'), text: t('close_text', it.id, it.sub), label: t('close'), after,
  path: `/connections/${encodeURIComponent(it.id)}/close`, done: () => t('closed', it.id),
});

function connections(root, context) {
  const form = h('form', {}, field('sub', t('user'), { maxlength: 255 }), field('group', t('group'), { maxlength: 99 }), field('id', t('id'), { maxlength: 40 }),
    choice('order', t('order'), ['newest', 'oldest', 'waiting', 'dropped', 'sent'].map((it) => [it, t(`o_${it}`)])),
    h('button', { class: 'main' }, t('show')));
  return connectionList(root, context, {}, form);
}

const slow = (root, context) => connectionList(root, context, { slow: 'yes', order: 'waiting' });

function log(root, { ask }) {
  const place = h('div');
  root.append(place);
  return every(3000, async () => {
    const found = await ask('/console/log', {}, place);
    if (!found) return;
    const level = (it) => ({ text: t(it.is_error ? 'error' : 'warning'), class: it.is_error ? 'bad' : 'wait' });
    const rows = found.lines.map((it) => [clock(it.at), level(it), it.instance, it.room, long(it.text)]);
    place.replaceChildren(table(t('log'), ['at', 'level', 'instance', 'part', 'text'].map((it) => t(it)), rows), silence(found.silent) ?? '');
  });
}

const TAP_LIMIT = 5 * 60_000;
const TAP_ROWS = 200;

function tap(root, { ask, fields }) {
  const note = h('p', { class: 'note', role: 'status' });
  const place = h('div', { role: 'log', 'aria-live': 'off' });
  const button = h('button', { class: 'main' }, t('start'));
  let rows = [];
  let end = null;
  const stop = (text = t('tap_off')) => {
    end?.();
    end = null;
    button.textContent = t('start');
    note.textContent = text;
  };
  const form = h('form', { onsubmit: (event) => {
    event.preventDefault();
    if (end) return stop();
    const group = new FormData(form).get('group');
    const reader = 1 + Math.floor(Math.random() * 2 ** 52);
    const until = Date.now() + TAP_LIMIT;
    rows = [];
    button.textContent = t('stop');
    note.textContent = t('tap_on', group);
    end = every(1000, async () => {
      if (Date.now() > until) return stop();
      const found = await ask('/console/tap', { group, reader }, place);
      if (!found) return stop('');
      if (found.missed) note.textContent = t('tap_missed', found.missed);
      const shown = found.events.map((it) => [clock(Date.now() - it.age), long(it.kind), right(it.offset ?? it.id),
        right(bytes(it.bytes)), h('td', { class: 'text' }, it.data === null ? t('redacted') : h('code', {}, it.data))]);
      rows = [...shown.reverse(), ...rows].slice(0, TAP_ROWS);
      place.replaceChildren(table(t('tap'), ['at', 'kind', 'offset', 'bytes', 'content'].map((it) => t(it)), rows));
    });
  } }, field('group', t('group'), { required: true, maxlength: 99 }), button);
  fill(form, fields);
  root.append(form, note, place);
  return () => end?.();
}

function publish(root, { change, fields }) {
  const note = h('p', { class: 'note', role: 'status' });
  const curl = h('pre', { tabindex: 0, role: 'region', 'aria-label': t('as_curl') });
  const request = () => {
    const data = new FormData(form);
    return [`/groups/${encodeURIComponent(data.get('group'))}/send`, data.get('event')];
  };
  const show = () => {
    const [path, event] = request();
    const quoted = `'${event.replaceAll("'", `'\\''`)}'`;
    curl.textContent = `curl ${location.origin}${path} -H 'Authorization: Bearer ${t('key_kept')}' -H 'Content-Type: application/json' -d ${quoted}`;
  };
  const form = h('form', { oninput: () => show(), onsubmit: async (event) => {
    event.preventDefault();
    const [path, body] = request();
    const failed = await change('POST', path, body, (answer) => { note.textContent = t('accepted', answer.id); });
    if (failed) note.textContent = failed;
  } }, field('group', t('group'), { required: true, maxlength: 99 }),
  h('label', { class: 'wide' }, t('event'), h('textarea', { name: 'event', spellcheck: 'false' }, '{"type": "aviso", "texto": "hola"}')),
  h('button', { class: 'main' }, t('send')));
  fill(form, fields);
  root.append(form, note, h('h3', {}, t('as_curl')), curl);
  show();
}

export const views = {
  now, why, groups, connections, slow,
  sources,
  back_end: metrics('hook', 'call', 'backend', 'refusals_total', 'auth_failures'),
  tasks,
  log, tap, publish,
};
