/** Who is here: a list that is kept true, in an order that does not jump under the reader's hand. */
import { $, el, face, plural, shown, statusOf, time } from './dom.js';

const STEP = 300; // rows that are shown at once
const SEARCH_AFTER = 250; // ms without a key
const LINGER = 5000; // ms for which someone who has left is still shown
const RANK = { online: 0, unreachable: 1, offline: 2 };
const order = new Intl.Collator();
const WORD = { online: 'online', unreachable: 'unreachable', offline: 'left' };

export class People {
  #known = new Map(); // id -> participant
  #rows = new Map(); // id -> { item, version }
  #leaving = new Map(); // id -> timer
  #found = new Set(); // ids that the service found for the present search
  #shown = STEP; // rows at most
  #asked; // what is asked for: {choose(id), more(), search(text, found)}
  #source = { isComplete: true };
  #frame;
  #timer;

  /** asked: {choose(id): someone was chosen. more(): the next who are here. search(text, found): look on the service}. */
  constructor(asked) {
    this.#asked = asked;
    this.chosen = undefined;
    $('search').addEventListener('input', () => this.#searchSoon());
    $('people-more').addEventListener('click', () => void this.#more());
  }

  /** source: {isComplete}, whether all who are here are known. */
  open(source) {
    this.#source = source;
  }

  #searchSoon() {
    clearTimeout(this.#timer);
    this.#found.clear();
    this.#shown = STEP;
    const text = $('search').value.trim();
    this.isSearching = Boolean(text) && !this.#source.isComplete;
    if (this.isSearching) this.#timer = setTimeout(() => void this.#search(text), SEARCH_AFTER);
    this.draw();
  }

  async #search(text) {
    await this.#asked.search(text, (list) => {
      for (const one of list) this.#found.add(one.id);
    });
    if (text !== $('search').value.trim()) return;
    this.isSearching = false;
    this.draw();
  }

  async #more() {
    this.#shown += STEP;
    if (this.#shown > this.#known.size) await this.#asked.more();
    this.draw();
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
    clearTimeout(this.#timer);
    for (const map of [this.#leaving, this.#known, this.#rows, this.#found]) map.clear();
    this.#source = { isComplete: true };
    this.#shown = STEP;
    $('people').replaceChildren();
    $('search').value = '';
    this.chosen = undefined;
    this.isSearching = false;
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
      ? here.filter((one) => this.#found.has(one.id) || [one.name, one.externalId, one.id].some((text) => text?.toLocaleLowerCase().includes(words)))
      : here;
    return found.sort(
      (a, b) =>
        (RANK[a.presence] === 1) - (RANK[b.presence] === 1) || order.compare(shown(a), shown(b)) || (a.id < b.id ? -1 : 1),
    );
  }

  draw() {
    const found = this.#matching();
    const list = $('people');
    const wanted = found.slice(0, this.#shown).map((one) => this.#row(one));
    const keep = new Set(wanted);
    for (const child of [...list.children]) if (!keep.has(child)) child.remove();
    // What stands where it should is not touched: focus and scrolling stay.
    wanted.forEach((item, index) => list.children[index] !== item && list.insertBefore(item, list.children[index] ?? null));
    const isSearch = Boolean($('search').value.trim());
    $('people-note').textContent = this.#note(found.length, isSearch);
    $('people-more').hidden = found.length <= this.#shown && (this.#source.isComplete || isSearch);
    $('first-steps').hidden = found.length > 0 || isSearch || !this.#source.isComplete;
  }

  #note(count, isSearch) {
    if (this.isSearching) return count ? 'Looking for more…' : 'Searching all participants who are online…';
    if (count > this.#shown) return `${this.#shown} of ${this.#source.isComplete || isSearch ? '' : 'more than '}${count.toLocaleString()}.`;
    if (count === 0 && isSearch) return 'Nobody who is online matches. Press Enter to search offline participants by id.';
    return this.#source.isComplete || isSearch ? '' : `${count.toLocaleString()} of more.`;
  }

  #row(one) {
    const known = this.#rows.get(one.id);
    const mark = `${one.version}|${one.presence}|${one.sessions}|${this.chosen === one.id}`;
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
    const devices = one.presence === 'offline' || (one.presence === 'unreachable' && one.sessions === 1) ? '' : plural(one.sessions, 'device');
    return el(
      'button',
      {
        type: 'button',
        class: 'person',
        'aria-current': this.chosen === one.id ? 'true' : undefined,
        onclick: () => this.#asked.choose(one.id),
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

/** The head of someone's page. */
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
