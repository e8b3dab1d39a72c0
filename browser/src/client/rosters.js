/**
 * A room's roster as this client has it (R5). A reply is a snapshot, or what differs from a version that this client
 * had. A change counts only on a roster held at or above its `since`. A roster of several pages changes while it is
 * read: what a change said of a member counts over an older page, so that nobody who left comes back.
 */
import { isSame, toMember } from '../model.js';

/** What one message changed. _isStale: the message does not fit what is held; the roster has to be asked for. */
class RosterUpdate {
  constructor(isStale) {
    this.joined = [];
    this.changed = [];
    this.left = [];
    this._isStale = isStale;
    // Later: _hasNewCount.
  }

  get _saysSomething() {
    return this._hasNewCount || this.joined.length + this.changed.length + this.left.length > 0;
  }
}

/** A room that the app joined or watches. */
export class LocalRoom {
  constructor(name) {
    this._name = name;
    this._isJoined = false; // the session is a member, as far as this client knows, and the app has not left
    this._isWatched = false; // the app watches it, a member or not
    this._hasChanges = false; // the service sends rooms.changed
    this._isAsked = false; // what differs was asked for, and not answered yet
    this._isDetailed = true; // else changes bring the count alone, and no members are held
    this._version = this._count = 0;
    this._members = new Map();
    this._lastNumber = 0; // of its messages
    this._seen = 0; // the highest version that a change had since the roster was asked for last
    this._unconfirmed = new Set(); // members held from before whom no page has named yet
    this._named = new Map(); // whom changes have named since the first page, with their versions
    this._pageVersion = 0;
    // Later: _cursor of the next page, undefined where the roster is complete; _id.
  }

  /** Name and version for a question about what differs; an incomplete roster is asked for from the beginning. */
  _known() {
    this._isAsked = true;
    this._seen = 0;
    if (this._cursor !== undefined) {
      this._version = 0;
      this._cursor = undefined;
    }
    return [this._name, this._version];
  }

  /** A roster from a reply: the whole one, its first page, or what differs. */
  _take({ id, version, count, since, members = [], left = [], cursor, detailed = true }) {
    const update = new RosterUpdate();
    this._isAsked = false;
    this._id = id ?? (count ? this._id : undefined);
    if (since && version <= this._version) update._isStale = this._version < this._seen; // changes have brought it meanwhile
    else {
      update._hasNewCount = count !== this._count;
      this._isDetailed = detailed;
      this._version = version;
      this._count = count;
      this._unconfirmed = new Set(since ? [] : this._members.keys());
      this._named.clear();
      this._pageVersion = 0;
      this._remove(left, undefined, update);
      this._takePage({ version, members, cursor }, update);
      update._isStale = this._version < this._seen;
    }
    return update;
  }

  /** A page; a later one where there is no update yet. */
  _takePage({ version, members = [], cursor }, update = new RosterUpdate()) {
    if (this._isDetailed) this._put(members.filter(({ id }) => !(this._named.get(id) > version)), update);
    this._pageVersion = Math.max(this._pageVersion, version);
    this._cursor = this._isDetailed ? (cursor ?? undefined) : undefined;
    if (this._cursor === undefined) {
      this._remove([...this._unconfirmed], undefined, update);
      this._named.clear();
    }
    return update;
  }

  /** rooms.changed. */
  _change({ id, version, since, count, joined = [], changed = [], left = [], ended }) {
    this._seen = Math.max(this._seen, version);
    if (!(version > this._version)) return new RosterUpdate();
    if (this._isDetailed && since > this._version) return new RosterUpdate(true);
    const update = new RosterUpdate();
    update._hasNewCount = count !== this._count;
    this._version = version;
    this._count = count;
    this._id = id ?? (count ? this._id : undefined);
    if (this._isDetailed) {
      const came = [...joined, ...changed];
      if (this._cursor !== undefined)
        for (const id of [...came.map((one) => one.id), ...left.map(([one]) => one)]) this._named.set(id, version);
      for (const [id, reason] of left) this._remove([id], reason, update);
      this._put(came, update);
    }
    if (ended) this._remove([...this._members.keys()], 'ended', update);
    const isComplete = this._isDetailed && this._cursor === undefined && version >= this._pageVersion;
    update._isStale = isComplete && this._members.size !== count;
    return update;
  }

  /** Its roster may no longer be seen. */
  _hide() {
    const update = new RosterUpdate();
    update._hasNewCount = this._count > 0;
    this._count = 0;
    this._cursor = undefined;
    this._named.clear();
    this._remove([...this._members.keys()], undefined, update);
    return update;
  }

  _put(wires, update) {
    for (const member of wires.map(toMember)) {
      const held = this._members.get(member.id);
      this._unconfirmed.delete(member.id);
      if (held && isSame(held, member)) continue;
      this._members.set(member.id, member);
      (held ? update.changed : update.joined).push(member);
    }
  }

  _remove(ids, reason, update) {
    for (const id of ids) {
      this._unconfirmed.delete(id);
      const member = this._members.get(id);
      if (this._members.delete(id)) update.left.push({ member, reason });
    }
  }
}
