/**
 * Requests that wait for their replies, over as many connections as it takes. Every request of the protocol is safe to
 * repeat (updates carry an updateId, S14). What was not answered on one connection is sent again on the next. Requests
 * are sent as fast as the service takes them and no faster, and lookups that wait behind each other become one message.
 */
import { errors } from '../errors.js';
import { utf8Length } from '../model.js';
import { EXCLUSIVE_METHODS, MAX_MESSAGE_BYTES, MERGED_METHODS, MESSAGES_BURST, MESSAGES_PER_SECOND, PACE } from '../tables.js';
import { earliest } from './attempts.js';

const HELD = -1;

/** A leave continues without anybody who waits for it. A join for which nobody waits any more becomes a leave. */
export const JOIN = 'rooms.join';
export const LEAVE = 'rooms.leave';

const byOrder = (one, other) => one._order - other._order;

const encode = (id, method, params) => JSON.stringify({ jsonrpc: '2.0', id, method, params });

const sizeOf = ({ _id, method }, params) => utf8Length(encode(_id, method, params));

export const sendText = (attempt, id, method, params) => ({ type: 'sendText', attempt, data: encode(id, method, params) });

/** _callers: empty for a request of the machine itself. _alone: not to be merged with others (again). */
class PendingRequest {
  constructor(id, method, params, callers, alone) {
    this._id = id;
    this.method = method;
    this.params = params;
    this._callers = callers;
    this._alone = alone;
    const names = params.room === undefined ? [...(params.rooms ?? []), ...(params.known ?? []).map(([name]) => name)] : [params.room];
    this._room = names.length === 1 ? names[0] : undefined; // the one that it is about
    this._order = id; // among those about the same room, unless others were put before it
    // Later: _sentOn, number of the attempt; _lastError; _notBefore, the service asked to wait.
  }
}

export class PendingRequests {
  constructor(settings) {
    this._settings = settings;
    this._table = new Map();
    this._lastId = 0;
    this._maxIds = settings._watchesPerMessage;
    this._connected(0, {});
    // Later: _blockedUntil.
  }

  /** A new connection takes messages. limits: of the service, as far as it says them. */
  _connected(now, { messagesPerSecond, messagesBurst, maxIds }) {
    this._rate = Math.max(messagesPerSecond || MESSAGES_PER_SECOND, 1) * PACE;
    this._burst = this._level = Math.max((messagesBurst || MESSAGES_BURST) * PACE, 1);
    this._levelAt = now;
    this._maxIds = Math.max(1, Math.min(this._settings._watchesPerMessage, maxIds || this._maxIds));
  }

  /** All, in the order in which they were made; the table may be changed meanwhile. */
  _all() {
    return [...this._table.values()];
  }

  /** Unique over all connections, so that a late reply finds its own request only. */
  _newId() {
    return ++this._lastId;
  }

  _put(method, params, callers, alone) {
    const request = new PendingRequest(this._newId(), method, params, callers, alone);
    this._table.set(request._id, request);
    return request;
  }

  /** Queue a request (waiter undefined: the machine's own). Returns the error where it is longer than the service takes. */
  _add(now, method, params, waiter, timeout) {
    const callers = waiter === undefined ? [] : [{ waiter, params, _timeout: timeout, _deadline: now + timeout }];
    const request = this._put(method, params, callers);
    const size = sizeOf(request, params);
    if (size <= MAX_MESSAGE_BYTES) return undefined;
    this._take(request._id);
    return new errors.IllegalArgumentError(`${method}: the message has ${size} bytes; the limit is ${MAX_MESSAGE_BYTES}.`);
  }

  /** The same for one room, or with those who ask the same, unless a later request about the room may undo it. */
  _addOrJoin(now, method, params, waiter, timeout) {
    const { _room } = new PendingRequest(0, method, params);
    const about = this._all().filter((one) => one._room === _room && EXCLUSIVE_METHODS.includes(one.method));
    const last = about.sort(byOrder).at(-1);
    if (last?.method === method && last._callers.length && JSON.stringify(last.params) === JSON.stringify(params))
      last._callers.push({ waiter, params, _timeout: timeout, _deadline: now + timeout });
    else this._add(now, method, params, waiter, timeout);
  }

  /** Remove the request that this answers. */
  _take(id) {
    const request = this._table.get(id);
    this._table.delete(id);
    return request;
  }

  /** Put back a request that was refused for now. It waits for resend or resendHeld. */
  _hold(request, error) {
    request._lastError = error;
    request._sentOn = HELD;
    this._table.set(request._id, request);
  }

  /** Put back a request that was sent too soon. */
  _repeat(request, error, notBefore) {
    this._hold(request, error);
    request._sentOn = undefined;
    request._notBefore = notBefore;
  }

  /** Put back each part of a merged request on its own: one of them was refused, or got no reply. */
  _split(method, callers) {
    for (const caller of callers) this._put(method, caller.params, [caller], true);
  }

  /** The next flush sends everything again that was sent or held: the connection is a new one. */
  _resend() {
    for (const request of this._table.values()) request._sentOn = request._notBefore = undefined;
  }

  /** The next flush sends again what was refused for now. */
  _resendHeld() {
    for (const request of this._table.values()) if (request._sentOn === HELD) request._sentOn = undefined;
  }

  /** Forget the machine's own requests of one method: a newer one replaces them. */
  _dropOwn(method) {
    for (const one of this._all()) if (!one._callers.length && one.method === method) this._table.delete(one._id);
  }

  /** The last `count` requests come before all others, whatever these are about. */
  _putFirst(count) {
    const all = this._all();
    all.unshift(...all.splice(all.length - count));
    this._table = new Map(all.map((one) => [one._id, one]));
    all.forEach((one, place) => (one._order = this._lastId - all.length + 1 + place));
  }

  /** Send what waits, as fast as the service takes it. attempt: number of the live one, undefined without one. */
  _flush(now, attempt) {
    const effects = [];
    this._blockedUntil = undefined;
    if (attempt === undefined) return effects;
    let room = this._settings._maxInFlight - this._all().filter((one) => one._sentOn === attempt).length;
    this._level = Math.min(this._burst, this._level + (now - this._levelAt) * this._rate);
    this._levelAt = now;
    const blocked = this._blocked(attempt);
    const unsent = this._all().filter((one) => one._sentOn === undefined && !blocked.has(one));
    while (unsent.length) {
      const one = unsent.shift();
      if (one._notBefore > now) this._block(now, one._notBefore, [one]);
      else if (room <= 0) break;
      else if (this._level < 1) {
        this._block(now, now + (1 - this._level) / this._rate, [one, ...unsent]);
        break;
      } else {
        // Up to the first that does not fit: a lookup is never moved before another request.
        while (unsent.length && !(unsent[0]._notBefore > now) && this._merge(one, unsent[0]))
          this._table.delete(unsent.shift()._id);
        one._sentOn = attempt;
        room--;
        this._level--;
        effects.push(sendText(attempt, one._id, one.method, one.params));
      }
    }
    return effects;
  }

  /**
   * Those that an earlier one about the same room has to precede: one that is not sent, or one whose answer decides
   * about membership.
   */
  _blocked(attempt) {
    const blocked = new Set();
    const busy = new Map(); // room: whether all others have to wait
    for (const one of this._all().sort(byOrder)) {
      const { _room, method, _sentOn, _notBefore } = one;
      if (_room === undefined) continue;
      const isExclusive = EXCLUSIVE_METHODS.includes(method);
      const before = busy.get(_room);
      if (before || (isExclusive && before !== undefined)) blocked.add(one);
      busy.set(_room, !!before || isExclusive || (_sentOn !== attempt && _notBefore > 0));
    }
    return blocked;
  }

  /** Take the other one's callers, where both fit into one message. */
  _merge(one, other) {
    const both = [one, other];
    if (one.method !== other.method || !MERGED_METHODS.includes(one.method)) return false;
    if (both.some(({ _alone, _callers }) => _alone || !_callers.length)) return false;
    const union = (field) => [...new Set(both.flatMap(({ params }) => params[field] ?? []))];
    const ids = union('ids');
    const externalIds = union('externalIds');
    const params = { ids, externalIds: externalIds.length ? externalIds : undefined };
    if (ids.length + externalIds.length > this._maxIds || sizeOf(one, params) > MAX_MESSAGE_BYTES) return false;
    one.params = params;
    one._callers.push(...other._callers);
    return true;
  }

  /** Callers do not time out for waiting their turn. */
  _block(now, until, requests) {
    this._blockedUntil = earliest([this._blockedUntil, until]);
    for (const { _callers } of requests)
      for (const caller of _callers) caller._deadline = Math.max(caller._deadline, now + caller._timeout);
  }

  _due() {
    return earliest([
      this._blockedUntil,
      ...this._all().flatMap(({ _callers }) => _callers.map((caller) => caller._deadline)),
    ]);
  }

  /** Reject the callers that have timed out. */
  _run(now) {
    return this._all().flatMap((request) => {
      const { method, _lastError, _callers } = request;
      const late = _callers.filter((caller) => caller._deadline <= now);
      if (!late.length) return [];
      this._remove(request, late);
      const hasEnded = _lastError instanceof errors.SessionEndedError; // the session lives, or all were rejected
      const error =
        (!hasEnded && _lastError) || new errors.ServiceUnavailableError(`${method} was not answered in time.`);
      return rejections(late, error);
    });
  }

  /** These wait for it no longer. */
  _remove(request, callers) {
    const { _id, method, params, _callers } = request;
    request._callers = _callers.filter((caller) => !callers.includes(caller));
    if (request._callers.length || method === LEAVE) return;
    this._take(_id);
    if (method === JOIN) this._add(0, LEAVE, params);
  }

  /** The caller was cancelled. What was sent is answered. */
  _cancel(waiter) {
    for (const request of this._all()) {
      const own = request._callers.filter((caller) => caller.waiter === waiter);
      if (!own.length) continue;
      if (request._sentOn === undefined || request.method === JOIN) this._remove(request, own);
      else request._callers = request._callers.filter((caller) => !own.includes(caller));
    }
  }

  /** The session is over. */
  _rejectAll(error) {
    const all = this._all();
    this._table.clear();
    return all.flatMap(({ _callers }) => rejections(_callers, error));
  }
}

export const rejections = (callers, error) => callers.map(({ waiter }) => ({ type: 'reject', _waiter: waiter, error }));
