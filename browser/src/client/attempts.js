/** Connection attempts of the machine, by number, and when to dial next. */
import { boundedRetry, fullJitter, steered } from '../backoff.js';
import { CLOSE_COME_BACK, LATE } from '../tables.js';

/** How far an attempt has come. At most one is LIVE; CLOSING carries session.close. */
export const DIALING = 1;
export const HELLO = 2;
export const LIVE = 3;
export const CLOSING = 4;

/** One dial and the connection that it makes. deadline: when it has taken too long, undefined once it is answered. */
export class Attempt {
  constructor(number, deadline, since) {
    this._number = number;
    this._phase = DIALING;
    this._deadline = deadline;
    this._since = since;
    // Later: _helloId, _pingId, _pingDue, _pongDeadline, _sleptUntil.
  }

  /** open or resume was answered. The heartbeat begins with a ping at once (S6). */
  _goLive(now) {
    this._phase = LIVE;
    this._deadline = undefined;
    this._since = this._pingDue = now;
  }

  _pingSent(now, pingId, settings) {
    this._pingId = pingId;
    this._pingDue = now + settings._pingInterval;
    this._pongDeadline = now + settings._pongTimeout;
  }

  _pongReceived() {
    this._pingId = this._pongDeadline = this._sleptUntil = undefined;
  }

  /** Whether the timer slept past the pong's deadline. True once only: a hidden page's timers are always late. */
  _timerSlept(now) {
    if (this._sleptUntil !== undefined || !(now > this._pongDeadline + LATE)) return false;
    this._sleptUntil = now;
    return true;
  }
}

/** When to dial next: exponential backoff with full jitter, or as the service said. */
export class RedialTimer {
  constructor(tools) {
    this._tools = tools;
    this._stop();
  }

  _stop() {
    this._failures = 0;
    this._due = undefined;
  }

  /** Also forgets earlier failures. */
  _atOnce(now) {
    this._failures = 0;
    this._due = now;
  }

  /** retryAfter: the service asks not to come sooner. */
  _afterFailure(now, retryAfter) {
    this._failures++;
    this._due = now + boundedRetry(retryAfter) + fullJitter(this._failures, this._tools._random);
  }

  /** The service said when. */
  _asServiceSays(now, after, jitter) {
    this._due = now + steered(boundedRetry(after), boundedRetry(jitter), this._tools._random);
  }
}

/** The attempts that carry the session, or are on the way to it: at most one live and one candidate. */
export class Attempts {
  constructor(tools, settings, output) {
    this._settings = settings;
    this._output = output;
    this._byNumber = new Map();
    this._lastNumber = 0;
    this._redial = new RedialTimer(tools);
  }

  _all() {
    return [...this._byNumber.values()];
  }

  _has(attempt) {
    return this._byNumber.has(attempt?._number);
  }

  _get(number) {
    return this._byNumber.get(number);
  }

  /** The attempt is over: its connection is gone. */
  _pop(number) {
    const attempt = this._get(number);
    this._byNumber.delete(number);
    return attempt;
  }

  _clear() {
    this._byNumber.clear();
  }

  _live() {
    return this._all().find((one) => one._phase === LIVE);
  }

  /** The attempt that may become the live one. */
  _candidate() {
    return this._all().find((one) => one._phase === DIALING || one._phase === HELLO);
  }

  /** Numbers are never used again, so that a late input finds nothing. */
  _nextNumber() {
    return ++this._lastNumber;
  }

  _dial(now) {
    const number = this._nextNumber();
    this._byNumber.set(number, new Attempt(number, now + this._settings._attemptTimeout, now));
    this._output._emit({ type: 'dial', attempt: number });
  }

  /** Only `close` sends 1000; every other connection is dropped with 4000 (S6). */
  _disconnect(attempt) {
    if (this._pop(attempt?._number)) this._output._emit(disconnect(attempt, CLOSE_COME_BACK));
  }
}

export const disconnect = (attempt, code) => ({ type: 'disconnect', attempt: attempt._number, code });

/** The smallest of those that are numbers, or undefined. */
export const earliest = (times) => {
  const set = times.filter((time) => time !== undefined);
  return set.length ? Math.min(...set) : undefined;
};
