/** One room: its roster, and how it changes; messages; and what can be done in it. */
import { checkEvent, checkMembers, checkText, splitWho } from './arguments.js';
import { errors } from './errors.js';
import { toMember } from './model.js';
import { Handlers } from './notifier.js';

/** An iteration over changes. A slow reader gets several as one: state, not messages. */
class Changes {
  constructor(end) {
    this._end = end;
    this._readers = [];
    // Later: _pending, the changes that were not read yet, as one; _isOver.
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
    this._finish();
    return { done: true, value: undefined };
  }

  _add(change) {
    this._pending = this._pending ? both(this._pending, change) : change;
    this._feed();
  }

  _finish() {
    this._end(this);
    this._isOver = true;
    this._feed();
  }

  _feed() {
    while (this._readers.length && (this._pending || this._isOver)) {
      const value = this._pending;
      this._pending = undefined;
      this._readers.shift()({ done: !value, value });
    }
  }
}

/** Two changes as one. Whoever came and went is in neither. */
const both = (first, { left, joined, changed, ...rest }) => {
  const byId = (all) => new Map(all.map((one) => [(one.member ?? one).id, one]));
  const [gone, came, others] = [first.left, first.joined, first.changed].map(byId);
  for (const [id, one] of byId(left))
    if (!came.delete(id)) {
      others.delete(id);
      gone.set(id, one);
    }
  for (const one of joined) came.set(one.id, one);
  for (const one of changed) (came.has(one.id) ? came : others).set(one.id, one);
  return { left: [...gone.values()], joined: [...came.values()], changed: [...others.values()], ...rest };
};

const EVENTS = ['changed', 'joined', 'left', 'message', 'missed', 'closed'];

/** Made by `join`, or by `watch`: then it is for looking only. */
export class Room {
  constructor(runner, rooms, name, isJoined, local) {
    this._runner = runner;
    this._rooms = rooms;
    this.name = name;
    this._isJoined = isJoined;
    this._local = local;
    this._handlers = new Handlers();
    this._iterations = new Set();
    // Later: _closed.
  }

  get isMember() {
    return this._isJoined && !this._closed;
  }

  get isClosed() {
    return !!this._closed;
  }

  get id() {
    return this._local._id;
  }

  get isDetailed() {
    return this._local._isDetailed;
  }

  get members() {
    return this._local._members;
  }

  get count() {
    return this._local._count;
  }

  get version() {
    return this._local._version;
  }

  /** For `for await`. */
  [Symbol.asyncIterator]() {
    const changes = new Changes((one) => this._iterations.delete(one));
    if (this._closed) changes._finish();
    else this._iterations.add(changes);
    return changes;
  }

  on(name, handler) {
    checkEvent('A room', name, EVENTS);
    return this._handlers._on(name, handler);
  }

  /** Everybody in a counted room, by page; in a detailed one `members` has them. */
  async *allMembers() {
    let cursor;
    do {
      const page = await this._rooms._request('rooms.members', { room: this.name, cursor });
      yield* (page.members ?? []).map(toMember);
      cursor = page.cursor;
    } while (cursor);
  }

  async send(message, options) {
    const { to } = checkMembers('options', options, ['to'], '{ to: [id] }');
    if (JSON.stringify(message) === undefined)
      throw new errors.IllegalArgumentError('message must be something that JSON can carry.');
    const [ids, others] = splitWho(to);
    if (others.length) throw new errors.IllegalArgumentError('to must hold participant ids.');
    if (to != null && !ids.length) return; // to nobody
    await this._rooms._call((machine, now, waiter) =>
      machine._sendToRoom(now, waiter, this.name, message, ids.length ? ids : undefined),
    );
  }

  async invite(who, options) {
    const { text } = checkMembers('options', options, ['text'], "{ text: 'Join us' }");
    checkText({ text });
    const [participantIds, externalIds] = splitWho(who);
    await this._rooms._request('rooms.invite', { room: this.name, participantIds, externalIds, text: text ?? undefined });
  }

  async kick(id, options) {
    const { seconds } = checkMembers('options', options, ['seconds'], '{ seconds: 60 }');
    const [ids] = splitWho(id);
    if (ids.length !== 1) throw new errors.IllegalArgumentError('id must be the id of one participant.');
    await this._rooms._request('rooms.kick', { room: this.name, participantId: ids[0], seconds: seconds ?? undefined });
  }

  /** Ends the membership, or the watching. Never rejects. */
  async leave() {
    if (this._closed) return;
    this._close({ reason: 'left' });
    await this._rooms._end(this);
  }

  /** What the machine reports about the room of this name. */
  _report(type, { room, type: _, ...event }) {
    const handlers = this._handlers;
    if (type === 'roomChanged') {
      for (const one of event.left) handlers._call('left', one);
      for (const one of event.joined) handlers._call('joined', one);
      handlers._call('changed', event);
      for (const changes of this._iterations) changes._add(event);
    } else if (type === (this._isJoined ? 'roomLeft' : 'roomUnwatched')) this._close(event);
    else if (this._isJoined && type === 'roomMessagesMissed') handlers._call('missed', event.count);
    else if (this._isJoined && type === 'roomMessage') {
      const { sender: id, message, number } = event;
      handlers._call('message', message, id && (this.members.get(id) ?? { id }), number);
    }
  }

  _sessionOver() {
    const { reason = 'closed', error } = this._runner._machine._lifecycle._lastEnd ?? {};
    this._close({ reason, error });
  }

  _close(why) {
    this._closed = why;
    this._rooms._forget(this);
    this._handlers._call('closed', why);
    for (const changes of [...this._iterations]) changes._finish();
  }
}
