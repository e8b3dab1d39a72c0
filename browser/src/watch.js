/** Watching participants: an async iterator over their changes. State, not messages. */
import { callBack } from './notifier.js';

export class Watch {
  constructor(participants, onChange, close) {
    this._latest = new Map(participants.map((one) => [one.id, one]));
    this._onChange = onChange;
    this._close = close;
    this._changes = new Map();
    this._readers = [];
    this._finished = false;
  }

  get participants() {
    return [...this._latest.values()];
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    return new Promise((resolve) => {
      this._readers.push(resolve);
      this._feed();
    });
  }

  async return() {
    await this.close();
    return { done: true, value: undefined };
  }

  close() {
    return this._close(this);
  }

  _feed() {
    while (this._readers.length && (this._changes.size || this._finished)) {
      const [first] = this._changes;
      if (first) this._changes.delete(first[0]);
      this._readers.shift()(first ? { done: false, value: first[1] } : { done: true, value: undefined });
    }
  }

  /** A watched participant changed, who may not be one of this watch. */
  _update(participant) {
    const { id } = participant;
    if (!this._latest.has(id) || this._finished) return;
    this._latest.set(id, participant);
    if (this._onChange) callBack(this._onChange, participant);
    this._changes.delete(id);
    this._changes.set(id, participant);
    this._feed();
  }

  /** These are no longer watched. */
  _remove(ids) {
    for (const id of ids) {
      this._latest.delete(id);
      this._changes.delete(id);
    }
  }

  /** End the iteration, after the changes that were not read yet. */
  _finish() {
    this._finished = true;
    this._feed();
  }
}
