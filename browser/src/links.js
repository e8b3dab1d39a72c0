/** Connections of the machine, by attempt number, and when the next dial is due. */
import { fullJitter, steered } from './backoff.js';

/** Phases of a connection. Of LIVE there is one at most; LEAVING carries a farewell. */
export const DIALING = 1;
export const HELLO = 2;
export const LIVE = 3;
export const LEAVING = 4;

/** limit: when the attempt has taken too long, undefined once it is answered. */
export class Link {
  constructor(attempt, phase, limit, since = 0) {
    this.attempt = attempt;
    this._phase = phase;
    this._limit = limit;
    this._since = since;
    // Later: _helloId, _pingId, _pingDue, _pongUntil, _sleptUntil.
  }

  /** Answered: the heartbeat begins with a ping at once (S6). */
  _goLive(now) {
    this._phase = LIVE;
    this._limit = undefined;
    this._since = this._pingDue = now;
  }

  _ponged() {
    this._pingId = this._pongUntil = this._sleptUntil = undefined;
  }
}

/** When to dial next: full jitter, or as the service said. */
export class Dialer {
  constructor(tools) {
    this._tools = tools;
    this._stop();
  }

  _stop() {
    this._failures = 0;
    this._due = undefined;
  }

  /** Forget earlier failures. */
  _soon(now) {
    this._failures = 0;
    this._due = now;
  }

  /** After a failure. retryAfter: the service asks not to come sooner. */
  _again(now, retryAfter) {
    this._failures++;
    this._due = now + Math.max(0, retryAfter || 0) + fullJitter(this._failures, this._tools._random);
  }

  /** The service said when. */
  _steer(now, after, jitter) {
    this._due = now + steered(after, jitter, this._tools._random);
  }
}

/** The smallest of those that are numbers, or undefined. */
export const earliest = (times) => {
  const set = times.filter((time) => time !== undefined);
  return set.length ? Math.min(...set) : undefined;
};
