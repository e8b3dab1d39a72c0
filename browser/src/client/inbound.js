/** What connections bring in: dials that succeed or fail, messages, losses, and timeouts. */
import { errors, fromWire } from '../errors.js';
import { CLOSE_ABNORMAL, CLOSE_COME_BACK, CLOSE_HEARTBEAT } from '../tables.js';
import { DIALING, HELLO, LIVE } from './attempts.js';
import { sendText } from './requests.js';

/** What the service sent. Throws where it is not a message of the protocol. */
const decode = (data) => {
  const incoming = JSON.parse(data);
  const { id, error } = incoming;
  if (Array.isArray(incoming) || (id != null && !Number.isInteger(id)) || (error != null && !error.code))
    throw new TypeError();
  return incoming;
};

/** Finds out which part of the machine an input is for. What no part waits for is ignored. */
export class Inbound {
  constructor(settings, lifecycle) {
    this._settings = settings;
    this._lifecycle = lifecycle;
    this._attempts = lifecycle._attempts;
    this._closes = lifecycle._closes;
    this._requests = lifecycle._requests;
    this._output = lifecycle._output;
  }

  _dialed(number) {
    const closing = this._closes._of(number);
    const attempt = this._attempts._get(number);
    if (closing) this._output._emit(...this._closes._dialed(closing));
    else if (attempt?._phase === DIALING) this._lifecycle._sendHello(attempt);
  }

  _dialFailed(now, number, error, retryAfter) {
    const closing = this._closes._of(number);
    if (closing) this._output._emit(...this._closes._lost(now, closing, CLOSE_ABNORMAL));
    else if (this._attempts._pop(number)) this._lifecycle._dialFailed(now, error, retryAfter);
  }

  _lost(now, number, code, reason) {
    const closing = this._closes._of(number);
    const attempt = this._attempts._pop(number);
    if (closing) this._output._emit(...this._closes._lost(now, closing, code));
    else if (attempt?._phase === LIVE) this._lifecycle._liveLost(now, attempt, code, reason);
    else if (attempt) this._lifecycle._candidateLost(now, code, reason);
  }

  _message(now, number, data) {
    const closing = this._closes._of(number);
    const attempt = this._attempts._get(number);
    try {
      if (closing) {
        const { id, error } = decode(data);
        this._output._emit(...this._closes._answered(now, closing, id, error && fromWire(error)));
      } else if (attempt) this._dispatch(now, attempt, decode(data));
    } catch (problem) {
      this._unreadable(now, attempt, problem);
    }
  }

  /** The connection cannot be trusted any more. The session continues. */
  _unreadable(now, attempt, problem) {
    if (!this._attempts._has(attempt)) return;
    this._attempts._disconnect(attempt);
    if (attempt._phase === LIVE) this._lifecycle._liveLost(now, attempt, CLOSE_COME_BACK, '');
    else
      this._lifecycle._dialFailed(
        now,
        new errors.ProtocolError(`The service sent a message that this SDK cannot read: ${problem.name}.`),
      );
  }

  _dispatch(now, attempt, incoming) {
    const { id, method } = incoming;
    if (method != null) {
      if (attempt._phase === LIVE) this._notified(now, method, incoming.params ?? {});
    } else if (attempt._phase === HELLO && id === attempt._helloId) this._lifecycle._helloAnswered(now, attempt, incoming);
    else if (attempt._phase === LIVE && id != null) {
      if (id === attempt._pingId) attempt._pongReceived();
      else {
        const request = this._requests._take(id);
        if (request && this._lifecycle._replies._received(now, this._lifecycle._session, request, incoming))
          this._lifecycle._sessionUnknown(now, attempt);
      }
    }
  }

  _notified(now, method, params) {
    const lifecycle = this._lifecycle;
    const { _replies, _tokens } = lifecycle;
    switch (method) {
      case 'participants.changed':
        _replies._changed(lifecycle._watches._update(params.participants));
        for (const wire of params.participants) _replies._ownRecord(lifecycle._session, wire);
        break;
      case 'session.ended':
        lifecycle._endedByService(now, params);
        break;
      case 'session.moveOn':
        lifecycle._moveOn(now, params);
        break;
      case 'session.stay':
        lifecycle._stay();
        break;
      case 'session.tokenExpiring':
        if (_tokens._text === _tokens._accepted) _tokens._expiryNotice();
        break;
      default:
        lifecycle._rooms._notified(method, params);
    }
  }

  // -- timers

  /** Give up attempts and connections that take too long. */
  _runTimeouts(now) {
    for (const attempt of this._attempts._all())
      if (attempt._deadline <= now) {
        this._attempts._disconnect(attempt);
        if (attempt._phase === LIVE) this._lifecycle._liveLost(now, attempt, CLOSE_COME_BACK, '');
        else
          this._lifecycle._attemptFailed(now, new errors.ServiceUnavailableError('The service did not answer in time.'));
      } else if (attempt._timerSlept(now)) this._ping(now, attempt);
      else if (attempt._pongDeadline <= now) {
        this._attempts._disconnect(attempt);
        this._lifecycle._liveLost(now, attempt, CLOSE_HEARTBEAT, '');
      }
  }

  /** Ping the live connection when it is time. */
  _runHeartbeat(now) {
    const live = this._attempts._live();
    if (live?._pingDue <= now && live._pongDeadline === undefined) this._ping(now, live);
  }

  _ping(now, live) {
    const id = this._requests._newId();
    live._pingSent(now, id, this._settings);
    this._output._emit(sendText(live._number, id, 'ping', {}));
  }
}
