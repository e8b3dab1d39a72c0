/** Participants and sessions over the last hour, as the service kept them, and now. Inline SVG, drawn again each time. */
import { svg } from './dom.js';

const HOUR = 3_600_000;
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [720, 168, 48, 22, 10];

/** A round number at or above `most`. */
const ceiling = (most) => {
  if (most <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= most && Number.isInteger(step)) ?? most;
};

const point = ({ at, participants, sessions }) => ({
  at,
  participants: participants.online + participants.unreachable,
  sessions: sessions.attached + sessions.detached,
});

export class Chart {
  #box;
  #kept = [];
  #seen = []; // counts since the last that the service kept
  #gap; // ms without counts after which a line is broken

  constructor(box) {
    this.#box = box;
    this.draw();
  }

  clear() {
    this.#kept = [];
    this.#seen = [];
    this.draw();
  }

  /** What the service kept (`GET /v1/counts/history`). */
  history({ items, period }) {
    this.#kept = items.map(point);
    this.#gap = 2500 * period;
    const last = this.#kept.at(-1)?.at ?? 0;
    this.#seen = this.#seen.filter((one) => one.at > last);
    this.draw();
  }

  /** The present counts (`GET /v1/counts`). */
  now(counts) {
    this.#seen.push(point(counts));
    this.draw();
  }

  draw() {
    const now = this.#seen.at(-1) ?? this.#kept.at(-1);
    const end = now?.at ?? Date.now();
    const points = [...this.#kept, ...this.#seen].filter((one) => one.at > end - HOUR && one.at <= end);
    const top = ceiling(Math.max(1, ...points.map((one) => Math.max(one.sessions, one.participants))));
    const x = (at) => LEFT + (1 - (end - at) / HOUR) * (WIDTH - LEFT);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const place = (one, name) => `${x(one.at).toFixed(1)},${y(one[name]).toFixed(1)}`;
    const parts = grid(top, y);
    for (const run of runs(points, this.#gap)) {
      const [first, last] = [x(run[0].at).toFixed(1), x(run.at(-1).at).toFixed(1)];
      const line = (name) => run.map((one) => place(one, name));
      parts.push(svg('path', { class: 'area', d: `M${first},${y(0)}L${line('sessions').join('L')}L${last},${y(0)}Z` }));
      for (const name of ['sessions', 'participants']) parts.push(svg('polyline', { class: name, points: line(name).join(' ') }));
    }
    if (now) parts.push(svg('circle', { class: 'now', cx: WIDTH, cy: y(now.sessions).toFixed(1), r: 3.5 }));
    const label = now ? `${now.sessions} sessions of ${now.participants} participants now; in the last hour at most ${Math.max(...points.map((one) => one.sessions))} sessions` : 'No counts yet';
    this.#box.replaceChildren(svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label }, ...parts));
  }
}

/** Points between which no counts are missing. */
const runs = (points, gap) => {
  const found = [];
  for (const one of points) {
    const run = found.at(-1);
    if (run && one.at - run.at(-1).at <= gap) run.push(one);
    else found.push([one]);
  }
  return found;
};

const grid = (top, y) => {
  const parts = [];
  for (const value of [0, top / 2, top]) {
    parts.push(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }));
    parts.push(svg('text', { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, value.toLocaleString()));
  }
  for (const minutes of [60, 30]) {
    const at = LEFT + (1 - minutes / 60) * (WIDTH - LEFT);
    parts.push(svg('text', { x: at, y: HEIGHT - 4, 'text-anchor': minutes === 60 ? 'start' : 'middle' }, `−${minutes} min`));
  }
  parts.push(svg('text', { x: WIDTH, y: HEIGHT - 4, 'text-anchor': 'end' }, 'now'));
  return parts;
};
