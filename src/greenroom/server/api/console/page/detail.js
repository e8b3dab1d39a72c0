/** One participant: who it is, their sessions with a timeline each, and what can be done. */
import { path } from './api.js';
import { $, el, span, statusOf, time } from './dom.js';
import { portrait } from './people.js';

const WORDS = {
  opened: 'opened',
  attached: 'connected',
  resumed: 'resumed',
  detached: 'lost its connection',
  taken_back: 'acquired again by its node',
  token_refreshed: 'token refreshed',
  ended: 'ended',
};

export class Detail {
  #api;
  #people;
  #actions;
  #id;
  #sessions = [];
  #open = new Set(); // ids of sessions whose timeline is shown
  #timer;
  #round = 0;

  /** actions: {kick(person), block(person), end(session)}. */
  constructor(people, actions) {
    this.#people = people;
    this.#actions = actions;
  }

  get id() {
    return this.#id;
  }

  async show(api, id) {
    this.#api = api;
    this.#id = id;
    this.#open.clear();
    this.#sessions = [];
    this.draw();
    await this.load();
    const first = this.#sessions[0];
    if (first) await this.#unfold(first.id);
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = this.#id = undefined;
    this.#round += 1;
    $('detail-title').textContent = 'A participant';
    $('detail-body').replaceChildren(
      el('p', { class: 'muted' }, 'Choose someone to see their sessions and what happened to them.'),
    );
  }

  /** Something happened to them. */
  soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.load();
    }, 150);
  }

  async load() {
    const round = ++this.#round;
    const id = this.#id;
    try {
      const { items } = await this.#api.get('/v1/sessions', { participantId: id, limit: 50 });
      // Sessions that ended while someone looks on stay, so that it can be read why.
      const here = new Set(items.map((one) => one.id));
      const gone = this.#sessions.filter((one) => !here.has(one.id));
      const ended = await Promise.all(gone.map((one) => this.#read(one)));
      const timelines = await Promise.all([...this.#open].map((one) => this.#timeline(one)));
      if (round !== this.#round) return;
      const past = new Map(timelines.filter(Boolean));
      this.#sessions = [...items.sort((a, b) => b.openedAt - a.openedAt), ...ended.filter(Boolean)];
      for (const one of this.#sessions) one.timeline = past.get(one.id);
      this.draw();
    } catch (error) {
      console.warn('console: sessions not read', error);
    }
  }

  async #read(session) {
    if (session.endedAt) return session;
    return this.#api.get(path('sessions', session.id)).catch(() => undefined);
  }

  async #timeline(id) {
    const found = await this.#api.get(path('sessions', id, 'timeline')).catch(() => undefined);
    return found && [id, found.items];
  }

  async #unfold(id) {
    this.#open.add(id);
    await this.load();
  }

  draw() {
    const one = this.#people.get(this.#id);
    if (!one) return;
    const buttons = $('detail-body').contains(document.activeElement) ? document.activeElement.id : '';
    $('detail-title').textContent = 'A participant';
    $('detail-body').replaceChildren(
      portrait(one),
      facts(one),
      this.#buttons(one),
      el('h3', {}, 'Sessions'),
      this.#sessions.length ? el('ul', { class: 'sessions' }, ...this.#sessions.map((each) => this.#session(each))) : el('p', { class: 'muted' }, 'None.'),
    );
    if (buttons) $(buttons)?.focus();
  }

  #buttons(one) {
    if (!this.#api.mayChange) return '';
    const { kick, block } = this.#actions;
    return el(
      'div',
      { class: 'buttons' },
      el('button', { type: 'button', id: 'kick', onclick: () => kick(one), disabled: one.presence === 'offline' }, 'Kick…'),
      el('button', { type: 'button', id: 'block', class: 'danger', onclick: () => block(one) }, 'Block…'),
    );
  }

  #session(session) {
    const { id, state, device, sdk, node, address, openedAt, endReason, status } = session;
    const name = device.name || device.id || 'A device without a name';
    const isOver = state === 'closed';
    const until = session.endedAt ?? Date.now();
    const here = state === 'attached' ? 'connected' : 'unreachable';
    const line = isOver ? `ended: ${endReason}` : [here, statusOf({ status })].filter(Boolean).join(' · ');
    const shade = isOver ? 'offline' : state === 'attached' ? 'online' : 'unreachable';
    return el(
      'li',
      { class: 'session', data: { state, id } },
      el(
        'div',
        { class: 'row' },
        el('p', { class: 'name' }, el('bdi', {}, name)),
        this.#api.mayChange && !isOver
          ? el('button', { type: 'button', class: 'small', id: `end-${id}`, onclick: () => this.#actions.end(session) }, 'End…')
          : '',
      ),
      el('p', { class: 'sub' }, el('i', { class: `dot ${shade}` }), `${line} · for ${span((until - openedAt) / 1000)}`),
      el('p', { class: 'sub' }, [sdk, address, `node ${node.slice(0, 12)}`].filter(Boolean).join(' · ')),
      session.endText ? el('p', { class: 'sub' }, `“${session.endText}”`) : '',
      this.#past(session),
    );
  }

  #past({ id, timeline }) {
    const isOpen = this.#open.has(id);
    return el(
      'details',
      {
        open: isOpen,
        ontoggle: (event) => {
          if (event.target.open === this.#open.has(id)) return;
          if (event.target.open) void this.#unfold(id);
          else this.#open.delete(id);
        },
      },
      el('summary', { id: `past-${id}` }, 'Timeline'),
      timeline ? el('ol', { class: 'timeline' }, ...timeline.map(entry)) : '',
    );
  }
}

const entry = ({ at, what, detail }) =>
  el('li', { data: { what } }, time(at), el('span', {}, WORDS[what] ?? what.replaceAll('_', ' '), detail ? el('span', { class: 'muted' }, ` ${detail}`) : ''));

const facts = (one) =>
  el(
    'dl',
    { class: 'facts' },
    ...fact('External id', one.externalId),
    ...fact('Id', one.id),
    ...fact('Profile', `revision ${one.revision}`),
    ...Object.entries(one.attributes).flatMap(([name, value]) => fact(name, value || '""')),
  );

const fact = (name, value) => (value ? [el('dt', {}, el('bdi', {}, name)), el('dd', {}, el('bdi', {}, value))] : []);
