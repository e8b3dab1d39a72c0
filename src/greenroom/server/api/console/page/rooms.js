/** Rooms: which are open, who is in the one that was chosen, and what can be done to them. */
import { path } from './api.js';
import { $, el, plural, shown } from './dom.js';

const SHOWN = 100; // rooms, and members of one
const SOON = 500; // ms from an event to the next look

export class Rooms {
  #api;
  #actions;
  #rooms = [];
  #isMore = false;
  #open; // name of the room whose members are shown
  #members = [];
  #timer;

  /** actions: {choose(id), kick(room, member), message(room), end(room)}. */
  constructor(actions) {
    this.#actions = actions;
  }

  open(api) {
    this.#api = api;
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = this.#open = this.#api = undefined;
    this.#rooms = this.#members = [];
    $('rooms').replaceChildren();
  }

  /** Something happened in a room. */
  soon() {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.load().catch((error) => console.warn('console: rooms not read', error));
    }, SOON);
  }

  async load() {
    const api = this.#api;
    if (!api) return;
    const name = this.#open;
    const [page, members] = await Promise.all([
      api.get('/v1/rooms', { limit: SHOWN }),
      name === undefined ? { items: [] } : api.get(path('rooms', name, 'members'), { limit: SHOWN }),
    ]);
    if (api !== this.#api) return;
    this.#rooms = page.items;
    this.#isMore = Boolean(page.cursor);
    if (name === this.#open) this.#members = members.items;
    this.draw();
  }

  draw() {
    const focus = $('rooms').contains(document.activeElement) ? document.activeElement.id : '';
    const items = this.#rooms.map((room) => this.#room(room));
    if (this.#isMore) items.push(el('li', { class: 'muted' }, `The first ${SHOWN}. The others: greenroom rooms list.`));
    $('rooms').replaceChildren(...(items.length ? items : [el('li', { class: 'muted' }, 'No room is open.')]));
    if (focus) $(focus)?.focus();
  }

  #room(room) {
    const isOpen = room.name === this.#open;
    return el(
      'li',
      { class: 'room', data: { room: room.name } },
      el(
        'div',
        { class: 'row' },
        el(
          'button',
          {
            type: 'button',
            class: 'link',
            id: `room-${room.id}`,
            'aria-expanded': String(isOpen),
            onclick: () => this.#toggle(room.name),
          },
          el('bdi', {}, room.name),
        ),
        el('span', { class: 'sub' }, room.ending ? 'ending' : plural(room.count, 'member')),
      ),
      isOpen ? this.#inside(room) : '',
    );
  }

  #toggle(name) {
    this.#open = this.#open === name ? undefined : name;
    this.#members = [];
    this.draw();
    this.soon();
  }

  #inside(room) {
    const { message, end } = this.#actions;
    const members = this.#members.map((member) => this.#member(room, member));
    if (room.count > members.length && members.length) members.push(el('li', { class: 'muted' }, `${members.length} of ${room.count.toLocaleString()}.`));
    return el(
      'div',
      {},
      el('ul', { class: 'plain' }, ...members),
      this.#api.mayChange
        ? el(
            'div',
            { class: 'buttons' },
            el('button', { type: 'button', class: 'small', id: `message-${room.id}`, onclick: () => message(room) }, 'Message…'),
            el('button', { type: 'button', class: 'small danger', id: `end-${room.id}`, onclick: () => end(room) }, 'End…'),
          )
        : '',
    );
  }

  #member(room, member) {
    const { choose, kick } = this.#actions;
    return el(
      'li',
      { class: 'row', data: { id: member.id } },
      el(
        'span',
        {},
        el('i', { class: `dot ${member.presence}` }),
        el('button', { type: 'button', class: 'link', onclick: () => choose(member.id) }, el('bdi', {}, shown(member))),
      ),
      this.#api.mayChange
        ? el('button', { type: 'button', class: 'small', id: `kick-${room.id}-${member.id}`, onclick: () => kick(room, member) }, 'Kick…')
        : '',
    );
  }
}
