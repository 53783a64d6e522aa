// Small parts of which the views are made. Whatever comes from outside becomes text, never markup.

import { current, t } from './words.js';

/** An element with properties, and children that are elements or texts. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'class') element.className = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const number = (value, digits = 0) => value === null || value === undefined ? '–'
  : new Intl.NumberFormat(current(), { maximumFractionDigits: digits }).format(value);

export const rate = (value) => number(value, value < 10 ? 1 : 0);

export const ms = (value) => value === null || value === undefined ? '–'
  : `${number(value, value < 10 ? 2 : 0)} ms`;

export function bytes(value) {
  for (const unit of ['B', 'KiB', 'MiB']) {
    if (value < 1024) return `${number(value, value < 10 ? 1 : 0)} ${unit}`;
    value /= 1024;
  }
  return `${number(value, 1)} GiB`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 120) return `${number(seconds)} s`;
  if (seconds < 7200) return `${number(Math.floor(seconds / 60))} min`;
  return `${number(Math.floor(seconds / 3600))} h`;
}

export const clock = (at) => new Date(at).toLocaleTimeString(current());

export const lost = (dropped) =>
  dropped.capacity + dropped.bytes + dropped.expired + dropped.unlisted + dropped.closed;

/** A table in a frame that scrolls by keyboard as well. Cells are texts, numbers or elements. */
export function table(label, heads, rows, options = {}) {
  if (!rows.length) return h('p', { class: 'hint' }, t('none'));
  const cell = (value) => value instanceof Node && value.tagName === 'TD' ? value
    : value instanceof Node ? h('td', {}, value)
      : typeof value === 'object' && value !== null ? h('td', { class: value.class }, value.text)
        : h('td', {}, String(value ?? '–'));
  const row = ([first, ...rest]) =>
    h('tr', {}, h('th', { scope: 'row' }, first), rest.map(cell));
  return h('div', { class: `scroll ${options.class ?? ''}`, tabindex: 0, role: 'region', 'aria-label': label, 'data-key': label },
    h('table', {},
      h('thead', {}, h('tr', {}, heads.map((head) => h('th', { scope: 'col' }, head)))),
      h('tbody', {}, rows.map(row))));
}

export const right = (text) => ({ text: String(text), class: 'number' });
export const long = (text) => ({ text: String(text), class: 'text' });

/** A labelled field. */
export function field(name, label, props = {}) {
  return h('label', {}, label, h(props.tag ?? 'input', { name, ...props, tag: undefined }));
}

export function choice(name, label, options) {
  return h('label', {}, label,
    h('select', { name }, options.map(([value, text]) => h('option', { value }, text))));
}

const SVG = 'http://www.w3.org/2000/svg';

/** A line of at most 120 points. */
export function line() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 119 28');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const polyline = document.createElementNS(SVG, 'polyline');
  svg.append(polyline);
  return { svg, draw: (values) => polyline.setAttribute('points', points(values)) };
}

function points(values) {
  const most = Math.max(...values, 1e-9);
  const start = 120 - values.length;
  return values.map((value, at) => `${start + at},${(27 - (value / most) * 26).toFixed(1)}`).join(' ');
}

/** Says what was not answered. */
export const silence = (silent) =>
  silent?.length ? h('p', { class: 'wait note' }, t('silent', silent.join(', '))) : null;

/** Runs at once and again and again; the function ends it. */
export function every(time, run) {
  run();
  const timer = setInterval(() => document.hidden || run(), time);
  return () => clearInterval(timer);
}

/** The metrics whose names begin so, a column for each instance. Sums of times become means. */
export const metrics = (...beginnings) => (root, { stream }) => {
  const place = h('div');
  root.append(place);
  return stream(({ instances, silent }) => {
    const names = new Set(instances.flatMap((it) => Object.keys(it.metrics)));
    const wanted = [...names].filter((name) => beginnings.some((it) => name.startsWith(it)) && !/_seconds_count\b/.test(name)).sort();
    const rows = wanted.map((name) => [h('code', {}, name.replace('_seconds_sum', `_seconds (${t('mean')})`)),
      ...instances.map(({ metrics: own }) => right(metric(name, own)))]);
    place.replaceChildren(table(t('metric'), [t('metric'), ...instances.map((it) => it.instance)], rows), silence(silent) ?? '');
  });
};

function metric(name, own) {
  if (!name.includes('_seconds_sum')) return number(own[name] ?? 0, 3);
  const count = own[name.replace('_seconds_sum', '_seconds_count')];
  return count ? `${ms((own[name] / count) * 1000)} × ${number(count)}` : '–';
}

/** Makes the content of `place` anew, and leaves the focus where it was. */
export function renew(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...children);
  if (focused) [...place.querySelectorAll('[data-key]')].find((it) => it.dataset.key === focused)?.focus({ preventScroll: true });
}

/** Asks before something is changed; what became of it is said in `note`. */
export function confirm({ change }, note, { title, text, label, path, done, after, fields = [] }) {
  const dialog = h('dialog', { 'aria-labelledby': 'confirm-title' },
    h('h2', { id: 'confirm-title' }, title), h('p', {}, text), fields,
    h('button', { class: 'main', onclick: async () => {
      const query = fields.some((field) => field.querySelector('input:checked')) ? '?terminate=yes' : '';
      dialog.close();
      let answered = null;
      const failed = await change('POST', `${path}${query}`, undefined, (answer) => { answered = answer; });
      note.textContent = failed ?? done(answered);
      after();
    } }, label), ' ', h('button', { onclick: () => dialog.close() }, t('cancel')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
