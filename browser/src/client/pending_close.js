/**
 * Closes that the service has not confirmed yet; they continue in the background (S6). For the app the session is
 * closed the moment `close` is called. While a connection carries it, session.close goes there. Without one, or when no
 * reply comes, session.close is the first message of a new connection. That is repeated until the grace is over.
 */
import { errors } from '../errors.js';
import { CLOSE_COME_BACK, CLOSE_NORMAL } from '../tables.js';
import { Attempt, CLOSING, DIALING, disconnect, earliest, LIVE, RedialTimer } from './attempts.js';
import { sendText } from './requests.js';

/** All sessions being closed: one in nearly every case. */
export class PendingCloses {
  constructor(tools, settings, requests, attempts) {
    this._tools = tools;
    this._settings = settings;
    this._requests = requests;
    this._attempts = attempts;
    this._pending = [];
  }

  /** sessionId: undefined where the open had not been answered. attempt: what carries the session or its open. */
  _start(now, sessionId, secrets, grace, attempt, waiters) {
    const deadline = now + this._settings._closeTimeout;
    const closing = {
      _sessionId: sessionId,
      _secrets: secrets,
      _until: now + grace,
      _waiters: waiters,
      _waitersDeadline: deadline,
      _redial: new RedialTimer(this._tools),
      _attempt: attempt,
    };
    if (!attempt && grace <= 0) return this._release(closing);
    this._pending.push(closing);
    if (attempt) {
      const live = attempt._phase === LIVE;
      attempt._phase = CLOSING;
      attempt._deadline = deadline;
      // "A connection closed with 1000 before or during the open ends the session it makes" (S6).
      return live ? this._send(closing, {}) : [disconnect(attempt, CLOSE_NORMAL)];
    }
    closing._redial._atOnce(now);
    return this._release(closing);
  }

  /** A later `close` joins one that still has a connection to be sent on. */
  _join(now, waiter) {
    const closing = this._pending.find((one) => one._attempt?._phase === CLOSING);
    if (!closing) return false;
    if (!closing._waiters.length) closing._waitersDeadline = now + this._settings._closeTimeout;
    closing._waiters.push(waiter);
    return true;
  }

  /** The close that this attempt carries. */
  _of(number) {
    return this._pending.find((one) => one._attempt?._number === number);
  }

  /** Connected: session.close is the first message. */
  _dialed(closing) {
    return closing._attempt._phase === DIALING ? this._sendWithSecret(closing) : [];
  }

  _sendWithSecret(closing) {
    closing._attempt._phase = CLOSING;
    return this._send(closing, { sessionId: closing._sessionId, resumeSecret: closing._secrets[0] });
  }

  _send(closing, params) {
    closing._requestId = this._requests._newId();
    return [sendText(closing._attempt._number, closing._requestId, 'session.close', params)];
  }

  /** The service's reply: it is done, or takes the other secret, or may take it later. */
  _answered(now, closing, requestId, error) {
    const attempt = closing._attempt;
    if (closing._requestId === undefined || requestId !== closing._requestId || !attempt) return [];
    if (error?.retryable) {
      closing._attempt = undefined;
      closing._redial._afterFailure(now);
      return [disconnect(attempt, CLOSE_COME_BACK), ...this._release(closing)];
    }
    if (error instanceof errors.SessionEndedError && !error.endReason && closing._secrets.length > 1) {
      closing._secrets.shift();
      return this._sendWithSecret(closing);
    }
    return [disconnect(attempt, CLOSE_NORMAL), ...this._finish(closing)];
  }

  /** The connection is gone. With 1000 the service has confirmed. */
  _lost(now, closing, code) {
    closing._attempt = undefined;
    if (closing._sessionId === undefined || code === CLOSE_NORMAL) return this._finish(closing);
    closing._redial._afterFailure(now);
    return this._release(closing);
  }

  _due() {
    return earliest(
      this._pending.flatMap((one) => [
        one._until,
        one._waiters.length ? one._waitersDeadline : undefined,
        one._attempt ? one._attempt._deadline : one._redial._due,
      ]),
    );
  }

  /** Do what is due. */
  _run(now) {
    const effects = [];
    for (const one of [...this._pending]) {
      if (one._waiters.length && one._waitersDeadline <= now) effects.push(...this._release(one));
      if (one._attempt?._deadline <= now) effects.push(...this._disconnect(now, one));
      if (one._until <= now) effects.push(...this._disconnect(now, one), ...this._finish(one));
      else if (!one._attempt && one._redial._due <= now) {
        const number = this._attempts._nextNumber();
        one._attempt = new Attempt(number, now + this._settings._attemptTimeout);
        one._redial._due = undefined;
        effects.push({ type: 'dial', attempt: number });
      }
    }
    return effects;
  }

  _networkBack(now) {
    for (const one of this._pending) if (!one._attempt) one._redial._atOnce(now);
  }

  /** The app exits: nothing more is tried. */
  _abandon() {
    return [...this._pending].flatMap((one) => [
      ...(one._attempt && one._sessionId !== undefined ? [disconnect(one._attempt, CLOSE_NORMAL)] : []),
      ...this._finish(one),
    ]);
  }

  _disconnect(now, closing) {
    const attempt = closing._attempt;
    closing._attempt = undefined;
    if (!attempt) return [];
    if (closing._sessionId === undefined) return this._finish(closing); // was closed with 1000 at the beginning
    closing._redial._afterFailure(now);
    return [disconnect(attempt, CLOSE_NORMAL)]; // ends the session where it still arrives
  }

  _release(closing) {
    return closing._waiters.splice(0).map((waiter) => ({ type: 'resolve', _waiter: waiter }));
  }

  _finish(closing) {
    this._pending = this._pending.filter((one) => one !== closing);
    return this._release(closing);
  }
}
