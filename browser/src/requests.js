/**
 * Requests that wait for their answers, over as many connections as it takes. Every request of the protocol is safe to
 * repeat (updates carry an updateId, S14), so what was not answered on one connection is sent again on the next.
 */
import { errors } from './errors.js';
import { earliest } from './links.js';
import { utf8Length } from './model.js';
import { MAX_MESSAGE_BYTES } from './tables.js';

const HELD = -1;

export const encode = (id, method, params) => JSON.stringify({ jsonrpc: '2.0', id, method, params });

export class Requests {
  constructor(settings) {
    this._settings = settings;
    this._table = new Map();
    this._lastId = 0;
  }

  /** All, in the order in which they were made; the table may be changed meanwhile. */
  _all() {
    return [...this._table.values()];
  }

  /** Unique over all connections, so that a late answer finds its own request only. */
  _newId() {
    return ++this._lastId;
  }

  /** Queue a request (waiter undefined: the machine's own); the error where it is longer than the service takes. */
  _add(method, params, waiter, until) {
    const id = this._newId();
    const size = utf8Length(encode(id, method, params));
    if (size > MAX_MESSAGE_BYTES)
      return new errors.IllegalArgumentError(`${method}: a message of ${size} bytes; at most ${MAX_MESSAGE_BYTES} are taken.`);
    this._table.set(id, { _id: id, method, params, waiter, _until: until });
  }

  /** The request that this answers, out of the table. */
  _take(id) {
    const request = this._table.get(id);
    this._table.delete(id);
    return request;
  }

  /** Put back a request that was refused for now. */
  _hold(request, error) {
    request._lastError = error;
    request._sentOn = HELD;
    this._table.set(request._id, request);
  }

  /** What was sent, or held, goes out again with the next flush. */
  _resend() {
    for (const request of this._table.values()) request._sentOn = undefined;
  }

  /** What was refused for now goes out again with the next flush. */
  _resendHeld() {
    for (const request of this._table.values()) if (request._sentOn === HELD) request._sentOn = undefined;
  }

  /** Forget the machine's own requests of one method: a newer one says the same. */
  _dropOwn(method) {
    for (const one of this._all()) if (one.waiter === undefined && one.method === method) this._table.delete(one._id);
  }

  /** Send what waits, as far as the service lets requests wait. */
  _flush(attempt) {
    let room = this._settings._inFlight - this._all().filter((one) => one._sentOn === attempt).length;
    const effects = [];
    for (const one of this._all()) {
      if (room <= 0) break;
      if (one._sentOn === undefined) {
        one._sentOn = attempt;
        room--;
        effects.push({ type: 'send', attempt, data: encode(one._id, one.method, one.params) });
      }
    }
    return effects;
  }

  _due() {
    return earliest(this._all().map((one) => one._until));
  }

  /** Reject what has waited too long. */
  _run(now) {
    const late = this._all().filter((one) => one._until <= now);
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
