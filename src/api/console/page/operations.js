// The views of what runs beside the gateway: Celery's tasks, and the sources of events.

import { clock, confirm, every, h, long, metrics, number, renew, right, span, table } from './parts.js';
import { current, t } from './words.js';

/** A heading, a hint and a table. */
const section = (key, heads, rows) => [h('h3', {}, t(key)), table(t(key), heads.map((it) => t(it)), rows)];

const seconds = (value) => value === null || value === undefined ? '–' : `${number(value, value < 10 ? 2 : 0)} s`;

const alive = (it) => ({ text: t(it.is_alive ? 'alive' : 'gone'), class: it.is_alive ? 'good' : 'bad' });

const FAILED = ['FAILURE', 'REVOKED', 'REJECTED'];
const ENDED = ['SUCCESS', ...FAILED];
const stage = (state) => ({ text: state, class: FAILED.includes(state) ? 'bad' : state === 'SUCCESS' ? 'good' : '' });

export function tasks(root, context) {
  const place = h('div');
  const note = h('p', { class: 'note', role: 'status' });
  const own = h('div');
  root.append(note, place, own);
  const load = async () => {
    const found = await context.ask('/console/tasks', {}, place);
    if (!found) return;
    renew(place, ...(found.is_configured ? report(found, context, note, load) : [h('p', { class: 'hint' }, t('no_celery'))]));
  };
  const ends = [every(5000, load), metrics('celery', 'task')(own, context)];
  return () => ends.forEach((end) => end());
}

function report(found, context, note, load) {
  const may = context.rights.includes('tasks') && found.has_broker;
  const act = (kind, it, fields) => h('button', { type: 'button', 'data-key': `${kind} ${it.id}`, onclick: () => confirm(context, note, {
    title: t(`${kind}_title`), text: t(`${kind}_text`, it.id, it.name ?? '–'), label: t(kind), after: load, fields: fields?.(),
    path: `/tasks/${encodeURIComponent(it.id)}/${kind}`, done: (answer) => t(`${kind}_done`, it.id, answer?.task),
  }) }, t(kind));
  const terminate = () => [h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'terminate' }), ' ', t('terminate'))];
  const buttons = (it) => [
    ENDED.includes(it.state) ? null : act('revoke', it, terminate),
    FAILED.includes(it.state) && found.repeatable.includes(it.name) ? act('retry', it) : null,
  ];
  const heads = ['at', 'name', 'id', 'state', 'worker', 'runtime', ...(may ? ['actions'] : [])];
  return [
    found.hears_workers ? null : h('p', { class: 'wait note' }, t('no_events')),
    found.has_broker ? null : h('p', { class: 'wait note' }, t('no_broker')),
    section('workers', ['worker', 'state', 'active', 'processed', 'load', 'heard', 'version'], found.workers.map((it) => [
      it.name, alive(it), right(number(it.active)), right(number(it.processed)), right(number(it.load, 2)), right(span(Math.round(it.silent))), it.version,
    ])),
    section('queues', ['queue', 'waiting', 'workers', 'reason'], found.queues.map((it) => [
      it.name, right(number(it.waiting)), right(number(it.workers)), { text: it.error ?? '–', class: it.error ? 'bad text' : '' },
    ])),
    section('by_name', ['name', 'received', 'succeeded', 'failures', 'retried', 'per_minute', 'failures_per_minute', 'mean_runtime'], found.names.map((it) => [
      it.name, right(number(it.received)), right(number(it.succeeded)), { text: number(it.failed), class: it.failed ? 'number bad' : 'number' },
      right(number(it.retried)), right(number(it.per_minute)), right(number(it.failed_per_minute)), right(seconds(it.mean_runtime)),
    ])),
    section('newest_tasks', heads, found.tasks.map((it) => [
      clock(it.at * 1000), long(it.name ?? '–'), h('code', {}, it.id), stage(it.state), it.worker, right(seconds(it.runtime)),
      ...(may ? [h('td', {}, buttons(it))] : []),
    ])),
    h('h3', {}, t('metrics')),
  ].flat().filter(Boolean);
}

const LEVELS = { ok: ['good', '✓'], warn: ['wait', '!'], fail: ['bad', '✗'] };
const level = (it) => ({ text: `${LEVELS[it.level][1]} ${t(`level_${it.level}`)}`, class: LEVELS[it.level][0] });

export function sources(root, context) {
  const place = h('div');
  const own = h('div');
  root.append(place, own);
  const load = async () => {
    const found = await context.ask('/console/sources', { language: current() }, place);
    if (!found) return;
    const findings = found.findings.map((it) => [it.what, level(it), long(it.found),
      h('td', { class: 'text' }, it.advice, it.advice ? ' ' : '', h('span', { class: 'hint' }, t('explained', it.page)))]);
    const poison = found.poison.map((it) => [clock(it.at), it.source, long(it.why), h('td', { class: 'text' }, it.entry === null ? t('redacted') : h('code', {}, it.entry))]);
    const parked = found.parked.map((it) => [it.group, right(number(it.waiting)), right(span(it.expires))]);
    renew(place,
      ...section('findings', ['what', 'level', 'found', 'advice'], findings),
      ...section('poison', ['at', 'source', 'reason', 'entry'], poison),
      ...section('parked', ['group', 'waiting', 'expires'], parked), h('h3', {}, t('metrics')));
  };
  const shown = ['source', 'mailbox', 'ingress', 'amqp', 'parked', 'drain', 'channels_', 'forward', 'django_'];
  const ends = [every(5000, load), metrics(...shown)(own, context)];
  return () => ends.forEach((end) => end());
}
