/** What happens, newest first. */
import { $, el, shown, span, time } from './dom.js';

const KEPT = 300;
const SHOWN = 120;

export class Events {
  #all = [];
  #names;
  #known = new Map(); // id -> how events called someone, for those who have left
  #choose;
  #frame;

  /** names(id): the participant, where known. choose(id): someone was chosen. */
  constructor(names, choose) {
    this.#names = names;
    this.#choose = choose;
    $('events-kind').addEventListener('change', () => this.draw());
    $('events-pause').addEventListener('click', () => {
      const paused = $('events-pause').getAttribute('aria-pressed') !== 'true';
      $('events-pause').setAttribute('aria-pressed', String(paused));
      $('events-pause').textContent = paused ? 'Continue' : 'Pause';
      this.draw();
    });
  }

  clear() {
    this.#all = [];
    this.#known.clear();
    $('events').replaceChildren();
  }

  /** What happened before the page was opened, oldest first. */
  past(events) {
    this.#all = [...this.#all, ...events.toReversed()].slice(0, KEPT);
    events.forEach((event) => this.#note(event));
    this.#soon();
  }

  add(event) {
    this.#all = [event, ...this.#all].slice(0, KEPT);
    this.#note(event);
    this.#soon();
  }

  #note({ participantId: id, data }) {
    if (!id || !(data?.name || data?.externalId)) return;
    const before = this.#known.get(id);
    this.#known.delete(id); // the latest are at the end
    this.#known.set(id, { id, name: data.name ?? before?.name, externalId: data.externalId ?? before?.externalId });
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
  }

  #soon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.draw();
    });
  }

  draw() {
    if ($('events-pause').getAttribute('aria-pressed') === 'true') return;
    const kind = $('events-kind').value;
    const found = this.#all.filter((one) => one.type.startsWith(kind)).slice(0, SHOWN);
    const list = $('events');
    const old = new Map([...list.children].map((child) => [child.dataset.event, child]));
    const items = found.map((one) => this.#kept(old.get(one.id), one) ?? this.#line(one));
    list.replaceChildren(...(items.length ? items : [el('li', { class: 'muted' }, 'Nothing yet.')]));
  }

  /** A line that is there already, unless it could not name its participant and now can. */
  #kept(line, { participantId: id }) {
    return line?.dataset.named === 'no' && this.#names(id) ? undefined : line;
  }

  /** A participant was seen in an event. */
  named() {
    if ($('events').querySelector('[data-named=no]')) this.#soon();
  }

  #line(event) {
    const { data = {}, participantId: id } = event;
    const known = this.#names(id);
    const person = known ?? this.#known.get(id) ?? { id: id ?? '' };
    const [subject, verb] = event.type.split('.');
    return el(
      'li',
      { data: { event: event.id, verb: verb ?? '', named: known || !id ? 'yes' : 'no' } },
      time(event.at),
      el('span', { class: `kind ${subject}` }, verb ?? event.type),
      el(
        'span',
        { class: 'about' },
        id ? el('button', { type: 'button', class: 'link', onclick: () => this.#choose(id) }, el('bdi', {}, shown(person))) : '',
        el('span', { class: 'muted' }, words(event.type, data)),
      ),
    );
  }
}

const words = (type, data) => {
  const parts = [];
  if (type === 'gap') parts.push(`${data.dropped} events were dropped`);
  if (data.room) parts.push(data.room);
  if (data.device?.name) parts.push(data.device.name);
  if (data.reason) parts.push(data.reason);
  if (typeof data.duration === 'number') parts.push(`after ${span(data.duration)}`);
  return parts.length ? ` ${parts.join(' · ')}` : '';
};
