/**
 * The rooms that the app joined or watches, their messages, and invitations (R1, R5, R6, R9).
 *
 * After a resume the service says in which rooms the session still is. After a reopen, where nothing is left of the old
 * session, what the app has joined and not left is joined again.
 */
import { boundedRetry } from '../backoff.js';
import { errors } from '../errors.js';
import { utf8Length } from '../model.js';
import { JOIN, LEAVE } from './requests.js';
import { olderServiceError } from './retry_policy.js';
import { LocalRoom } from './rosters.js';

const WATCH = 'rooms.watch';
const UNWATCH = 'rooms.unwatch';
const MEMBERS = 'rooms.members';
/** Seconds after which a request of the machine's own is repeated that was refused for now. */
const RETRY_AFTER = 2;
/** Of rooms in session.resume, as JSON; others are asked about in messages of their own. */
const MAX_KNOWN_BYTES = 8 * 1024;

/** The capability of a service that has them. */
export const ROOMS = 'rooms';

/** By name. A request with callers is the app's, one without is the machine's own. */
export class LocalRooms {
  constructor(output, requests) {
    this._output = output;
    this._requests = requests;
    this._byName = new Map();
    this._early = new Map(); // versions of changes that came before the reply to a join or watch
    this._inHello = new Set(); // named in the last session.resume, whose reply says what differs
    this._invitations = new Map(); // those that wait for an answer, by id
  }

  _all() {
    return [...this._byName.values()];
  }

  /** Those in which the session is. */
  _ofSession() {
    return this._all().filter((room) => room._isJoined);
  }

  // -- what the app asks for

  /** Resolves with the LocalRoom; at once where it is joined already. */
  _join(now, waiter, name, timeout) {
    const room = this._byName.get(name);
    if (room?._isJoined) this._output._resolve(waiter, room);
    else this._requests._addOrJoin(now, JOIN, { room: name }, waiter, timeout);
  }

  /** Over at once for the app; resolves when the service has it. */
  _leave(now, waiter, name, timeout) {
    const room = this._byName.get(name);
    if (!room?._isJoined) {
      this._output._resolve(waiter);
      return;
    }
    this._requests._add(now, LEAVE, { room: name }, waiter, timeout);
    this._membershipOver(room);
  }

  /** Resolves with the LocalRoom; at once where the service sends its changes already. */
  _watch(now, waiter, name, timeout) {
    const room = this._byName.get(name);
    if (room?._hasChanges) {
      room._isWatched = true;
      this._output._resolve(waiter, room);
    } else this._requests._addOrJoin(now, WATCH, { rooms: [name] }, waiter, timeout);
  }

  /** Resolves when the service has it; at once where the session is a member, whose watch continues. */
  _unwatch(now, waiter, name, timeout) {
    const room = this._byName.get(name);
    if (!room?._isWatched || room._isJoined) {
      if (room) room._isWatched = false;
      this._output._resolve(waiter);
      return;
    }
    this._byName.delete(name);
    this._requests._add(now, UNWATCH, { rooms: [name] }, waiter, timeout);
  }

  _send(now, waiter, params, timeout) {
    const error = this._byName.get(params.room)?._isJoined
      ? this._requests._add(now, 'rooms.send', params, waiter, timeout)
      : new errors.NotAMemberError();
    if (error) this._output._reject(waiter, error);
  }

  // -- replies

  /** The service's reply. Returns what the callers get. Throws where it cannot be read. */
  _answered(request, result) {
    const { method, params, _callers } = request;
    const room = this._byName.get(request._room);
    switch (method) {
      case JOIN:
        return this._joined(request, result, room);
      case WATCH:
        return this._watched(request, result, room);
      case MEMBERS: {
        if (_callers.length) return result;
        if (room && room._cursor === params.cursor) this._took(room, room._takePage(result));
        return undefined;
      }
      case LEAVE:
        if (room && !room._isJoined && !room._isAsked) this._ask(room); // of a join that was cancelled: it ended the app's watch, too
        return undefined;
      case 'rooms.create':
        return result.roster.id;
      case 'rooms.find':
        return result.room;
    }
    return undefined;
  }

  _joined({ _room: name, _callers }, { roster, watching = true }, held) {
    if (!_callers.length && !held?._isJoined) return undefined; // left meanwhile: rooms.leave follows
    const room = this._get(name);
    room._isJoined = true;
    room._hasChanges = watching;
    this._took(room, room._take(roster), !held);
    if (room._isWatched && !watching) this._ask(room);
    return room;
  }

  _watched({ _room: name, _callers }, { rosters }, held) {
    if (!held && !_callers.length) return undefined;
    const room = this._get(name);
    room._isAsked = false;
    room._hasChanges = true;
    room._isWatched ||= _callers.length > 0;
    for (const roster of rosters) this._took(room, room._take(roster), !held);
    return room;
  }

  _get(name) {
    if (!this._byName.has(name)) this._byName.set(name, new LocalRoom(name));
    return this._byName.get(name);
  }

  /** A request of the machine's own. */
  _refused(now, request, error) {
    if (error.retryable) {
      this._requests._repeat(request, error, now + (boundedRetry(error.retryAfter) || RETRY_AFTER));
      return;
    }
    const room = this._byName.get(request._room);
    const reason = error.reason.toLowerCase();
    if (request.method === JOIN && room?._isJoined) this._lost(room, reason, error);
    else if (request.method === WATCH && room) this._unwatched(room, reason, error);
  }

  // -- notifications

  /** One of the service's notifications about rooms. */
  _notified(method, params) {
    const room = this._byName.get(params.room);
    switch (method) {
      case 'rooms.changed':
        if (room) this._took(room, room._change(params));
        else if (this._requests._all().some((one) => one._room === params.room))
          this._early.set(params.room, Math.max(params.version, this._early.get(params.room) ?? 0));
        else this._requests._add(0, UNWATCH, { rooms: [params.room] }); // a watch that the app does not wait for any more
        break;
      case 'rooms.message':
        if (room?._isJoined && params.number > room._lastNumber) {
          const { number, from: sender, message } = params;
          room._lastNumber = number;
          this._output._notify({ type: 'roomMessage', room: room._name, number, sender, message });
        }
        break;
      case 'rooms.missed':
        if (room?._isJoined) this._output._notify({ ...params, type: 'roomMessagesMissed' });
        break;
      case 'rooms.left':
        if (room?._isJoined) this._lost(room, params.reason);
        break;
      case 'rooms.unwatched':
        if (room?._hasChanges) this._unwatched(room, params.reason);
        break;
      case 'rooms.invited':
        this._invited([params.invitation]);
        break;
      case 'rooms.answered':
        this._output._notify({ ...params, type: 'roomInvitationAnswered' });
    }
  }

  _invited(invitations) {
    for (const invitation of invitations) {
      if (typeof invitation.id !== 'string' || typeof invitation.room !== 'string') throw new TypeError();
      if (this._invitations.has(invitation.id)) continue;
      this._invitations.set(invitation.id, invitation);
      this._output._notify({ type: 'roomInvited', invitation });
    }
  }

  // -- rosters

  /** Report what a message changed, and ask for what is missing. isNew: the caller gets all of it as result. */
  _took(room, update, isNew) {
    const { _name: name, _version: version, _count: count } = room;
    const { joined, changed, left } = update;
    if (update._saysSomething && !isNew)
      this._output._notify({ type: 'roomChanged', room: name, version, count, joined, changed, left });
    const early = this._early.get(name);
    this._early.delete(name);
    if ((update._isStale || early > version) && room._hasChanges && !room._isAsked) this._ask(room);
    else if (room._cursor !== undefined && !room._isAsked) this._nextPage(room);
  }

  _ask(room) {
    this._requests._add(0, WATCH, { known: [room._known()] });
  }

  _nextPage({ _name: room, _cursor: cursor }) {
    const isAsked = ({ method, params, _callers }) =>
      method === MEMBERS && params.room === room && params.cursor === cursor && !_callers.length;
    if (!this._requests._all().some(isAsked)) this._requests._add(0, MEMBERS, { room, cursor });
  }

  // -- the session

  /** For session.resume: rooms whose changes the session gets, with versions, as many as fit. */
  _known() {
    this._early.clear();
    const found = [];
    let size = 0;
    for (const room of this._byName.values()) {
      size += utf8Length(JSON.stringify(room._name)) + 24;
      if (room._hasChanges && size <= MAX_KNOWN_BYTES) found.push(room._known());
    }
    this._inHello = new Set(found.map(([name]) => name));
    return found;
  }

  /** session.resume was answered. */
  _resumed({ capabilities, rooms, lostRooms, rosters, invitations }) {
    this._welcome(invitations);
    if (!capabilities.includes(ROOMS)) return; // an older node, which knows nothing of rooms: a later one will say
    for (const method of [WATCH, MEMBERS]) this._requests._dropOwn(method);
    const pending = this._requests._all().flatMap(({ method, _room }) => (method === JOIN ? [_room] : []));
    const reasons = new Map(lostRooms);
    for (const room of this._all()) {
      room._isAsked = false;
      if (room._isJoined && !rooms.includes(room._name) && !pending.includes(room._name))
        this._lost(room, reasons.get(room._name) ?? 'lost');
    }
    if (!rosters) this._inHello.clear(); // the service could not watch them now
    for (const roster of rosters ?? []) {
      const room = this._byName.get(roster.room);
      if (room) this._took(room, room._take(roster));
    }
    for (const room of this._all())
      if (room._hasChanges && !this._inHello.has(room._name) && !room._isAsked) this._ask(room);
  }

  /** A new session replaces the one that had joined and watched: again, before anything else is asked of it. */
  _reopened({ capabilities, invitations }) {
    this._early.clear();
    for (const method of [JOIN, LEAVE, WATCH, UNWATCH, MEMBERS]) this._requests._dropOwn(method);
    this._welcome(invitations);
    for (const room of this._all()) {
      room._isAsked = false;
      room._lastNumber = 0;
      if (!capabilities.includes(ROOMS)) this._gone(room);
      else if (room._isJoined) this._requests._add(0, JOIN, { room: room._name });
      else this._ask(room);
    }
    this._requests._putFirst(this._byName.size);
  }

  /** A session was opened; or resumed that another page had, whose rooms are there again. */
  _opened({ rooms, rosters, invitations }) {
    this._welcome(invitations);
    for (const name of rooms) {
      const room = this._get(name);
      const roster = rosters?.find((one) => one.room === name);
      room._isJoined = true;
      room._hasChanges = !rosters || !!roster;
      if (roster) this._took(room, room._take(roster), true);
      else if (!rosters) this._ask(room); // the service could not read them now
    }
  }

  /** Of a session that was opened, resumed or reopened: invitations that wait. */
  _welcome(invitations) {
    const waiting = invitations.map(({ id }) => id);
    for (const id of [...this._invitations.keys()]) if (!waiting.includes(id)) this._invitations.delete(id);
    this._invited(invitations);
  }

  /** The session is over. */
  _clear(reason) {
    for (const room of this._all())
      if (room._isJoined) {
        room._isJoined = false;
        this._output._notify({ type: 'roomLeft', room: room._name, reason });
      }
    this._byName.clear();
    this._early.clear();
    this._invitations.clear();
  }

  /** The service has no rooms any more. */
  _gone(room) {
    const { _name: name, _isJoined, _isWatched } = room;
    const error = olderServiceError(ROOMS);
    const reason = 'rooms_unavailable';
    if (_isJoined) this._output._notify({ type: 'roomLeft', room: name, reason, error });
    if (_isWatched) this._output._notify({ type: 'roomUnwatched', room: name, reason, error });
    room._isJoined = room._isWatched = false;
    this._byName.delete(name);
  }

  /** The membership ended without the app. */
  _lost(room, reason, error) {
    this._output._notify({ type: 'roomLeft', room: room._name, reason, error });
    this._membershipOver(room);
  }

  /** Its changes no longer come. A member stays one, and sees nobody. */
  _unwatched(room, reason, error) {
    room._isAsked = room._hasChanges = false;
    if (room._isWatched) this._output._notify({ type: 'roomUnwatched', room: room._name, reason, error });
    room._isWatched = false;
    if (room._isJoined) this._took(room, room._hide());
    else this._byName.delete(room._name);
  }

  /** The watch of a member ends with its membership; the app's own is begun again. */
  _membershipOver(room) {
    room._isJoined = false;
    room._hasChanges = room._isWatched;
    if (room._isWatched) this._ask(room);
    else this._byName.delete(room._name);
  }
}
