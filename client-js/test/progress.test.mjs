// What the progress element reads from an event.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TEXTS } from '../elements/progress-style.js';
import { reading } from '../elements/reading.js';

const read = (event, language = 'en') => reading(event, TEXTS[language]);

test('how far a task is comes from a number, a share or two counts', () => {
  for (const [progress, percent, text] of [
    [42, 42, '42 %'],
    [{ percent: 42.4 }, 42.4, '42 %'],
    [{ percentage: 7 }, 7, '7 %'],
    [{ current: 5, total: 12 }, (5 / 12) * 100, '42 % · 5 of 12'],
    [{ done: 7, total: 12 }, (7 / 12) * 100, '58 % · 7 of 12'],
    [{ completed: 1, total: 1, description: 'last' }, 100, '100 % · 1 of 1 · last'],
    [{ current: 30, total: 12 }, 100, '100 % · 30 of 12'],
    [-3, 0, '0 %'],
  ]) {
    assert.deepEqual(read({ state: 'PROGRESS', progress }), { state: 'progress', percent, text });
  }
});

test('what tells no share leaves the bar open', () => {
  for (const [progress, text] of [
    [undefined, 'Working'], [null, 'Working'], ['resizing', 'resizing'], [{}, 'Working'], [[], 'Working'],
    [{ current: 5, total: 0 }, '5 of 0'], [{ current: 'x', total: 'y' }, 'Working'], [NaN, 'Working'],
    [{ message: '  half done ' }, 'half done'],
  ]) {
    assert.deepEqual(read({ state: 'PROGRESS', progress }), { state: 'progress', percent: null, text });
  }
});

test("a state of the site's own is progress", () => {
  const event = { state: 'RESIZING', progress: { current: 1, total: 4 } };
  assert.deepEqual(read(event), { state: 'progress', percent: 25, text: '25 % · 1 of 4' });
});

test('the states of Celery have words in both languages', () => {
  assert.deepEqual(read({ state: 'SUCCESS', progress: { current: 1, total: 4 } }), { state: 'success', percent: 100, text: 'Done' });
  assert.equal(read({ state: 'FAILURE' }).text, 'Failed');
  assert.equal(read({ state: 'FAILURE', error: 'no room' }).text, 'Failed · no room');
  assert.equal(read({ state: 'FAILURE', error: { type: 'OSError', message: 'no room' } }, 'es').text, 'Falló · no room');
  assert.equal(read({ state: 'RETRY', progress: { done: 7, total: 12 } }, 'es').text, 'Otro intento · 7 de 12');
  assert.deepEqual(Object.keys(TEXTS.en), Object.keys(TEXTS.es));
  for (const language of ['en', 'es']) {
    for (const state of ['PENDING', 'RECEIVED', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED']) {
      assert.equal(read({ state }, language).text, TEXTS[language][state]);
    }
  }
});
