/** Watched participants, and the latest record of each (S11, S12). */
import { toParticipant, utf8Length } from '../model.js';
import { MAX_MESSAGE_BYTES } from '../tables.js';

/** Of ids in one message; the rest is room for the frame around them. */
const MAX_IDS_BYTES = (MAX_MESSAGE_BYTES * 3) / 4;

/** A notification counts only if its version is higher. A reply is a snapshot and replaces the record. */
export class WatchedParticipants {
  constructor() {
    this._held = new Map();
  }

  /** Take the reply to a watch or resume. onlyHeld: ignore ids that are no longer watched. Returns what has changed. */
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

  /** Take a notification. Returns the participants that have changed. */
  _update(wires) {
    return wires.map(toParticipant).filter((one) => {
      const held = this._held.get(one.id);
      const newer = held && one.version > held.version;
      if (newer) this._held.set(one.id, one);
      return newer;
    });
  }

  /** Stop watching these. */
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

/** Split ids into messages that the service takes: at most `count` ids, and not too long. */
export const splitIds = (ids, externalIds, count) => {
  const found = [];
  let number = count;
  let size;
  const cut = (field) => (id) => {
    const cost = utf8Length(JSON.stringify(id)) + 1;
    if (number >= count || size + cost > MAX_IDS_BYTES) {
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
