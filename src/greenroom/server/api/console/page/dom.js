/** Elements made of text: nothing that comes from anybody ever becomes markup. */

export const $ = (id) => document.getElementById(id);

/** An element. Properties whose names begin with `on` are listeners, `data` is the dataset, the rest attributes. */
export const el = (tag, properties = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
};

const SVG = 'http://www.w3.org/2000/svg';

export const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

/** The first letters of a name's first and last word, by what people see as letters. */
const letters = globalThis.Intl?.Segmenter ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;
const first = (word) => (letters ? [...letters.segment(word)][0]?.segment : [...word][0]) ?? '';
export const initials = (name) => {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.map(first).join('').toLocaleUpperCase() || '?';
};

/** A hue that stays the same for an id. */
const hue = (id) => [...id].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7);

/** A face: the avatar where there is one that may be loaded and loads, else initials. */
export const face = (person) => {
  const letter = el('span', { class: 'letters', 'aria-hidden': 'true' }, initials(shown(person)));
  const box = el('span', { class: 'face' }, letter);
  box.style.setProperty('--hue', hue(person.id));
  if (isLoadable(person.avatarUrl)) {
    const picture = el('img', { alt: '', referrerpolicy: 'no-referrer', loading: 'lazy', decoding: 'async' });
    picture.addEventListener('error', () => picture.remove());
    picture.src = person.avatarUrl;
    box.append(picture);
  }
  return box;
};

const isLoadable = (url) => {
  try {
    return new URL(url).protocol === 'https:';
  } catch {
    return false; // none, or relative to the app, which is elsewhere
  }
};

/** What to call someone. */
/** The status where it says more than the presence. */
export const statusOf = ({ status }) => (status && status !== 'available' ? status : '');

export const shown = (person) => person.name || person.externalId || `${person.id.slice(0, 8)}…`;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

export const time = (at) => el('time', { datetime: new Date(at).toISOString(), title: date.format(at) }, clock.format(at));

/** Seconds in words: `4.2 s`, `12 min`, `3 h 20 min`. */
export const span = (seconds) => {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

export const plural = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;
