/** Who is here: a list that is kept true, in an order that does not jump under the reader's hand. */
import { $, el, face, plural, shown, statusOf, time } from './dom.js';

const SHOWN = 300; // more are found by searching
const LINGER = 5000; // ms for which somebody who has left is still shown
const RANK = { online: 0, unreachable: 1, offline: 2 };
const WORD = { online: 'online', unreachable: 'unreachable', offline: 'left' };

export class People {
  #known = new Map(); // id -> participant
  #rows = new Map(); // id -> { item, version }
  #leaving = new Map(); // id -> timer
  #choose;
  #frame;

  /** choose(id): somebody was chosen. */
  constructor(choose) {
    this.#choose = choose;
    this.ownId = undefined;
    this.isComplete = true;
    this.chosen = undefined;
    $('search').addEventListener('input', () => this.draw());
  }

  get(id) {
    return this.#known.get(id);
  }

  /** The latest of each; older ones are passed over. */
  put(list) {
    for (const one of list) {
      const known = this.#known.get(one.id);
      if (known && one.version < known.version) continue;
      this.#known.set(one.id, one);
      clearTimeout(this.#leaving.get(one.id));
      this.#leaving.delete(one.id);
      if (one.presence === 'offline') {
        this.#leaving.set(one.id, setTimeout(() => this.#forget(one.id), known ? LINGER : 0));
      }
    }
    this.#soon();
  }

  clear() {
    this.#leaving.forEach(clearTimeout);
    for (const map of [this.#leaving, this.#known, this.#rows]) map.clear();
    $('people').replaceChildren();
    $('search').value = '';
    this.chosen = this.ownId = undefined;
  }

  #forget(id) {
    this.#leaving.delete(id);
    const row = this.#rows.get(id);
    this.#rows.delete(id);
    row?.item.remove();
    this.#soon();
  }

  #soon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.draw();
    });
  }

  #matching() {
    const words = $('search').value.trim().toLocaleLowerCase();
    const here = [...this.#known.values()].filter((one) => one.presence !== 'offline' || this.#leaving.has(one.id));
    const found = words
      ? here.filter((one) => [one.name, one.externalId, one.id].some((text) => text?.toLocaleLowerCase().includes(words)))
      : here;
    return found.sort(
      (a, b) =>
        (a.id === this.ownId) - (b.id === this.ownId) ||
        (RANK[a.presence] === 1) - (RANK[b.presence] === 1) ||
        shown(a).localeCompare(shown(b)) ||
        (a.id < b.id ? -1 : 1),
    );
  }

  draw() {
    const found = this.#matching();
    const list = $('people');
    const wanted = found.slice(0, SHOWN).map((one) => this.#row(one));
    const keep = new Set(wanted);
    for (const child of [...list.children]) if (!keep.has(child)) child.remove();
    // What stands where it should is not touched: focus and scrolling stay.
    wanted.forEach((item, index) => list.children[index] !== item && list.insertBefore(item, list.children[index] ?? null));
    $('people-note').textContent = this.#note(found.length);
  }

  #note(count) {
    if (count > SHOWN) return `${SHOWN} of ${count.toLocaleString()} are shown: search for the others.`;
    if (count === 0 && $('search').value) return 'Nobody here is called so. Enter looks among those who have left, too.';
    if (count === 0) return 'Nobody.';
    if (!this.isComplete) return `The first ${count.toLocaleString()}.`;
    return '';
  }

  #row(one) {
    const known = this.#rows.get(one.id);
    const mark = `${one.version}|${one.presence}|${one.sessions}|${this.chosen === one.id}|${this.ownId === one.id}`;
    if (known?.mark === mark) return known.item;
    const item = known?.item ?? el('li');
    const had = item.contains(document.activeElement);
    item.dataset.presence = one.presence;
    item.dataset.id = one.id;
    item.replaceChildren(this.#button(one));
    if (had) item.firstChild.focus({ preventScroll: true });
    this.#rows.set(one.id, { item, mark });
    return item;
  }

  #button(one) {
    const devices = this.ownId === one.id ? 'this page' : one.presence === 'offline' || (one.presence === 'unreachable' && one.sessions === 1) ? '' : plural(one.sessions, 'device');
    return el(
      'button',
      {
        type: 'button',
        class: 'person',
        'aria-current': this.chosen === one.id ? 'true' : undefined,
        onclick: () => this.#choose(one.id),
      },
      face(one),
      el(
        'span',
        { class: 'words' },
        el('span', { class: 'name' }, el('bdi', {}, shown(one))),
        el('span', { class: 'sub' }, el('i', { class: `dot ${one.presence}` }), [WORD[one.presence], statusOf(one), devices].filter(Boolean).join(' · ')),
      ),
    );
  }
}

/** The head of somebody's page. */
export const portrait = (one) =>
  el(
    'div',
    { class: 'portrait', data: { presence: one.presence } },
    face(one),
    el(
      'div',
      { class: 'words' },
      el('p', { class: 'name' }, el('bdi', {}, shown(one))),
      el('p', { class: 'sub' }, el('i', { class: `dot ${one.presence}` }), [one.presence, statusOf(one)].filter(Boolean).join(' · '), seen(one)),
    ),
  );

const seen = (one) => (one.presence === 'offline' && one.lastSeen ? el('span', {}, ' · last seen ', time(one.lastSeen)) : '');
