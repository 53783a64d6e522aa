// <groupcast-progress>: the progress of a Celery task, for pages without npm. Django's template tag
// writes it; its attributes are `group`, `ticket`, `path` and `label`.

import { GroupcastClient } from './groupcast.js';
import { reading } from './reading.js';
import { STYLE, TEXTS } from './progress-style.js';

const WATCH = 'groupcast.watch';
/** Shares of the whole, percent, at which a screen reader is told: each one would drown the rest. */
const TOLD_EVERY = 25;
/** By path: the elements of a page share a connection. */
const clients = new Map();
let given;

/** Has all elements of the page use its own client in place of one of theirs. */
export function use(client) {
  given = client;
  for (const element of document.querySelectorAll('groupcast-progress')) element.restart();
}

function clientFor(path) {
  if (given) return given;
  if (!clients.has(path)) clients.set(path, new GroupcastClient(path));
  return clients.get(path);
}

const sheet = new CSSStyleSheet();
sheet.replaceSync(STYLE);

export class GroupcastProgress extends HTMLElement {
  #bar = document.createElement('div');
  #fill = document.createElement('div');
  #text = document.createElement('span');
  #told = document.createElement('span');
  #removers = [];
  #percent = null;
  #said = '';
  #away = false;

  /** The last event of the task, whole. */
  event = null;

  constructor() {
    super();
    const root = this.attachShadow({ mode: 'open' });
    root.adoptedStyleSheets = [sheet];
    // Attributes, not `part` alone: the text is read out in quarters, by the live region.
    for (const [name, value] of Object.entries({ role: 'progressbar', 'aria-valuemin': 0, 'aria-valuemax': 100, part: 'bar' })) {
      this.#bar.setAttribute(name, value);
    }
    this.#fill.setAttribute('part', 'fill');
    this.#text.setAttribute('part', 'text');
    this.#text.setAttribute('aria-hidden', 'true');
    this.#told.setAttribute('role', 'status');
    this.#bar.append(this.#fill);
    root.append(this.#bar, this.#text, this.#told);
  }

  connectedCallback() {
    this.#bar.setAttribute('aria-label', this.getAttribute('label') || this.#words.label);
    if (!this.event) this.#show({ state: 'PENDING' });
    this.restart();
  }

  disconnectedCallback() {
    for (const remove of this.#removers.splice(0)) remove();
  }

  /** Watches anew, with the client of now. */
  restart() {
    this.disconnectedCallback();
    if (!this.isConnected) return;
    const client = clientFor(this.getAttribute('path') || '/ws/');
    this.#removers = [
      client.on('event', ({ group, event, data }) => {
        if (group === this.getAttribute('group') && event.replace('_', '.') === 'task.state') this.#show(data);
      }),
      // A membership ends with its connection.
      client.on('state', ({ state }) => {
        if (state === 'connected') this.#watch(client);
        else if (state === 'waiting') this.#lost(this.#words.away);
      }),
      client.on('closed', ({ code }) => this.#lost(code === 4401 ? this.#words.signedOut : this.#words.away)),
    ];
    if (client.state === 'connected') this.#watch(client);
    else client.connect().catch(() => {}); // `state` and `closed` tell what comes of it
  }

  async #watch(client) {
    const ticket = this.getAttribute('ticket');
    if (!ticket || this.#isOver) return;
    try {
      await client.call(WATCH, { ticket });
      client.groups.get(this.getAttribute('group'))?.on('$gap', () => this.#watch(client), { once: true });
      if (this.#away) this.#show(this.event ?? { state: 'PENDING' });
    } catch (error) {
      // What may succeed later is tried when there is a connection again.
      if (!error.retry && error.code !== 'closed' && error.code !== 'disconnected') {
        this.#become('failure', null, error.message);
      }
    }
  }

  get #isOver() {
    return ['success', 'failure', 'revoked'].includes(this.getAttribute('state'));
  }

  get #words() {
    const language = this.closest('[lang]')?.lang ?? '';
    return language.toLowerCase().startsWith('es') ? TEXTS.es : TEXTS.en;
  }

  #show(event) {
    const words = this.#words;
    const { state, percent, text } = reading(event, words);
    this.#away = false;
    if (event.id !== undefined) this.event = event;
    // A task that goes on from where it was has told nothing new about how far it is.
    this.#become(state, percent ?? (state === 'progress' ? this.#percent : null), text);
    if (event.id !== undefined) {
      this.dispatchEvent(new CustomEvent('task-state', { detail: event, bubbles: true, composed: true }));
    }
  }

  #become(state, percent, text) {
    const quarter = percent === null ? '' : Math.floor(percent / TOLD_EVERY);
    this.#percent = percent;
    this.setAttribute('state', state);
    if (percent === null) this.#bar.removeAttribute('aria-valuenow');
    else this.#bar.setAttribute('aria-valuenow', Math.round(percent));
    this.#bar.setAttribute('aria-valuetext', text);
    this.#fill.style.inlineSize = percent === null ? '' : `${percent}%`;
    this.#text.textContent = text;
    if (this.#said === `${state} ${quarter}`) return;
    this.#said = `${state} ${quarter}`;
    this.#told.textContent = text;
  }

  /** The bar stays as it was. */
  #lost(text) {
    if (this.#isOver) return;
    this.#away = true;
    this.#text.textContent = text;
    this.#told.textContent = text;
    this.#said = '';
  }
}

if (!customElements.get('groupcast-progress')) customElements.define('groupcast-progress', GroupcastProgress);
