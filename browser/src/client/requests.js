/**
 * Requests that wait for their replies, over as many connections as it takes. Every request of the protocol is safe to
 * repeat (updates carry an updateId, S14). What was not answered on one connection is sent again on the next.
 */
import { errors } from '../errors.js';
import { utf8Length } from '../model.js';
import { MAX_MESSAGE_BYTES } from '../tables.js';
import { earliest } from './attempts.js';

const HELD = -1;

const encode = (id, method, params) => JSON.stringify({ jsonrpc: '2.0', id, method, params });

export const sendText = (attempt, id, method, params) => ({ type: 'sendText', attempt, data: encode(id, method, params) });

export class PendingRequests {
  constructor(settings) {
    this._settings = settings;
    this._table = new Map();
    this._lastId = 0;
  }

  /** All, in the order in which they were made; the table may be changed meanwhile. */
  _all() {
    return [...this._table.values()];
  }

  /** Unique over all connections, so that a late reply finds its own request only. */
  _newId() {
    return ++this._lastId;
  }

  /** Queue a request (waiter undefined: the machine's own). Returns the error where it is longer than the service takes. */
  _add(method, params, waiter, deadline) {
    const id = this._newId();
    const size = utf8Length(encode(id, method, params));
    if (size > MAX_MESSAGE_BYTES)
      return new errors.IllegalArgumentError(`${method}: the message has ${size} bytes; the limit is ${MAX_MESSAGE_BYTES}.`);
    this._table.set(id, { _id: id, method, params, waiter, _deadline: deadline });
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

  /** The next flush sends everything again that was sent or held: the connection is a new one. */
  _resend() {
    for (const request of this._table.values()) request._sentOn = undefined;
  }

  /** The next flush sends again what was refused for now. */
  _resendHeld() {
    for (const request of this._table.values()) if (request._sentOn === HELD) request._sentOn = undefined;
  }

  /** Forget the machine's own requests of one method: a newer one replaces them. */
  _dropOwn(method) {
    for (const one of this._all()) if (one.waiter === undefined && one.method === method) this._table.delete(one._id);
  }

  /** Send what waits, as far as the service queues requests. */
  _flush(attempt) {
    let room = this._settings._maxInFlight - this._all().filter((one) => one._sentOn === attempt).length;
    const effects = [];
    for (const one of this._all()) {
      if (room <= 0) break;
      if (one._sentOn === undefined) {
        one._sentOn = attempt;
        room--;
        effects.push(sendText(attempt, one._id, one.method, one.params));
      }
    }
    return effects;
  }

  _due() {
    return earliest(this._all().map((one) => one._deadline));
  }

  /** Reject what has timed out. */
  _run(now) {
    const late = this._all().filter((one) => one._deadline <= now);
    for (const one of late) this._table.delete(one._id);
    return late
      .filter((one) => one.waiter !== undefined)
      .map(({ waiter, method, _lastError }) => ({
        type: 'reject',
        _waiter: waiter,
        error: _lastError ?? new errors.ServiceUnavailableError(`${method} was not answered in time.`),
      }));
  }

  /** The session is over. */
  _rejectAll(error) {
    const all = this._all();
    this._table.clear();
    return all.filter((one) => one.waiter !== undefined).map(({ waiter }) => ({ type: 'reject', _waiter: waiter, error }));
  }
}
