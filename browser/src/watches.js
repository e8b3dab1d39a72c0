/** Who is watched, and the latest that is known of each (S11, S12). */
import { toParticipant, utf8Length } from './model.js';
import { MAX_MESSAGE_BYTES } from './tables.js';

/** Of ids in one message; the rest is room for the frame around them. */
const MAX_PIECE_BYTES = (MAX_MESSAGE_BYTES * 3) / 4;

/** Versions only grow, but for a snapshot (a reply), which replaces what is held. */
export class Watches {
  constructor() {
    this._held = new Map();
  }

  /** A reply to watch or resume. onlyHeld: ids that are not watched any more are left out. What differs. */
  _snapshot(wires, onlyHeld) {
    return wires
      .map(toParticipant)
      .filter((one) => !onlyHeld || this._held.has(one.id))
      .filter((one) => {
        const held = this._held.get(one.id);
        this._held.set(one.id, one);
        return held && held.version !== one.version;
      });
  }

  /** A notification counts only where it is newer. */
  _notify(wires) {
    return wires.map(toParticipant).filter((one) => {
      const held = this._held.get(one.id);
      const newer = held && one.version > held.version;
      if (newer) this._held.set(one.id, one);
      return newer;
    });
  }

  /** Unwatched: nothing more is told of these. */
  _drop(ids, externalIds) {
    for (const [id, { info }] of [...this._held])
      if (ids.includes(id) || (info.externalId !== undefined && externalIds.includes(info.externalId)))
        this._held.delete(id);
  }

  /** All pairs of id and version, in the order in which they were first watched. */
  _known() {
    return [...this._held].map(([id, { version }]) => [id, version]);
  }
}

/** Ids cut into messages that the service takes: at most `count` of them, and by their size. */
export const pieces = (ids, externalIds, count) => {
  const found = [];
  let number = count;
  let size;
  const cut = (field) => (id) => {
    const cost = utf8Length(JSON.stringify(id)) + 1;
    if (number >= count || size + cost > MAX_PIECE_BYTES) {
      found.push({});
      size = number = 0;
    }
    (found.at(-1)[field] ??= []).push(id);
    size += cost;
    number++;
  };
  ids.forEach(cut('ids'));
  externalIds.forEach(cut('externalIds'));
  return found;
};
