/** Sessions as a line, opens as bars, over the last ten minutes. Inline SVG, drawn anew for each sample. */
import { svg } from './dom.js';

const SAMPLES = 120;
export const EVERY = 5; // seconds
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [720, 168, 40, 22, 10];

/** A round number at or above `most`. */
const ceiling = (most) => {
  if (most <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= most && Number.isInteger(step)) ?? most;
};

export class Chart {
  #box;
  #samples = [];

  constructor(box) {
    this.#box = box;
    this.draw();
  }

  clear() {
    this.#samples = [];
    this.draw();
  }

  /** Opens of the last minute. */
  get opensAMinute() {
    return this.#samples.slice(-60 / EVERY).reduce((sum, one) => sum + one.opens, 0);
  }

  add(sessions, opens) {
    this.#samples = [...this.#samples, { sessions, opens }].slice(-SAMPLES);
    this.draw();
  }

  draw() {
    const samples = this.#samples;
    const top = ceiling(Math.max(1, ...samples.map((one) => Math.max(one.sessions, one.opens))));
    const x = (index) => LEFT + ((SAMPLES - samples.length + index + 0.5) * (WIDTH - LEFT)) / SAMPLES;
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
    const parts = [...grid(top, y), ...bars(samples, x, y)];
    if (samples.length > 0) {
      const points = samples.map((one, index) => `${x(index).toFixed(1)},${y(one.sessions).toFixed(1)}`);
      const first = x(0).toFixed(1);
      const last = x(samples.length - 1).toFixed(1);
      parts.push(svg('path', { class: 'area', d: `M${first},${y(0)}L${points.join('L')}L${last},${y(0)}Z` }));
      parts.push(svg('polyline', { class: 'line', points: points.join(' ') }));
      parts.push(svg('circle', { class: 'now', cx: last, cy: y(samples.at(-1).sessions).toFixed(1), r: 3.5 }));
    }
    const now = samples.at(-1);
    const label = now
      ? `${now.sessions} sessions now, ${this.opensAMinute} opens in the last minute`
      : 'No samples yet';
    this.#box.replaceChildren(svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label }, ...parts));
  }
}

const grid = (top, y) => {
  const parts = [];
  for (const value of [0, top / 2, top]) {
    parts.push(svg('line', { class: 'grid', x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }));
    parts.push(text({ x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, String(value)));
  }
  for (const minutes of [10, 5]) {
    const at = LEFT + (1 - minutes / 10) * (WIDTH - LEFT);
    parts.push(text({ x: at, y: HEIGHT - 4, 'text-anchor': minutes === 10 ? 'start' : 'middle' }, `−${minutes} min`));
  }
  parts.push(text({ x: WIDTH, y: HEIGHT - 4, 'text-anchor': 'end' }, 'now'));
  return parts;
};

const text = (attributes, words) => svg('text', attributes, words);

const bars = (samples, x, y) =>
  samples.flatMap(({ opens }, index) =>
    opens > 0
      ? [svg('rect', { class: 'opens', x: x(index) - 2, width: 4, y: y(opens), height: y(0) - y(opens), rx: 1.5 })]
      : [],
  );
