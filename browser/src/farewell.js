/**
 * Leaving: the service is told that a session is closed, in the background where it must be (S6). Locally the session
 * is over the moment `close` is called. While a connection carries it, session.close goes there; without one, or when
 * the answer does not come, session.close is the first message of a new connection, tried until the grace is over.
 */
import { errors } from './errors.js';
import { DIALING, Dialer, earliest, LEAVING, Link, LIVE } from './links.js';
import { encode } from './requests.js';
import { CLOSE_COME_BACK, CLOSE_NORMAL } from './tables.js';

const hangup = (link, code) => ({ type: 'hangup', attempt: link.attempt, code });

/** All sessions being left: one in nearly every case. */
export class Farewells {
  constructor(tools, settings, requests) {
    this._tools = tools;
    this._settings = settings;
    this._requests = requests;
    this._going = [];
  }

  /** Leave. sessionId: undefined where the open had not been answered. link: what carries the session or its open. */
  _start(now, sessionId, secrets, grace, link, waiters) {
    const limit = now + this._settings._closeLimit;
    const farewell = {
      _sessionId: sessionId,
      _secrets: secrets,
      _until: now + grace,
      _waiters: waiters,
      _waitersUntil: limit,
      _dialer: new Dialer(this._tools),
      _link: link,
    };
    this._going.push(farewell);
    if (link) {
      const live = link._phase === LIVE;
      link._phase = LEAVING;
      link._limit = limit;
      // "A link closed with 1000 before or during the open ends the session it makes" (S6).
      return live ? this._ask(farewell, {}) : [hangup(link, CLOSE_NORMAL)];
    }
    farewell._dialer._soon(now);
    return this._release(farewell);
  }

  /** A second `close` joins the first, while somebody still waits for that. */
  _join(waiter) {
    const going = this._going.find((one) => one._waiters.length);
    going?._waiters.push(waiter);
    return !!going;
  }

  _of(attempt) {
    return this._going.find((one) => one._link?.attempt === attempt);
  }

  /** Connected: say goodbye as the first message. */
  _dialed(farewell) {
    farewell._link._phase = LEAVING;
    return this._ask(farewell, { sessionId: farewell._sessionId, resumeSecret: farewell._secrets[0] });
  }

  _ask(farewell, params) {
    farewell._asked = this._requests._newId();
    return [
      { type: 'send', attempt: farewell._link.attempt, data: encode(farewell._asked, 'session.close', params) },
    ];
  }

  /** The service's answer: done, or the other secret, or later. */
  _answered(now, farewell, answerTo, error) {
    const link = farewell._link;
    if (farewell._asked === undefined || answerTo !== farewell._asked || !link) return [];
    if (error?.retryable) {
      farewell._link = undefined;
      farewell._dialer._again(now);
      return [hangup(link, CLOSE_COME_BACK), ...this._release(farewell)];
    }
    if (error instanceof errors.SessionEndedError && !error.endReason && farewell._secrets.length > 1) {
      farewell._secrets.shift();
      return this._dialed(farewell);
    }
    return [hangup(link, CLOSE_NORMAL), ...this._finish(farewell)];
  }

  /** The connection is gone: with 1000 the service has said yes. */
  _lost(now, farewell, code) {
    farewell._link = undefined;
    if (farewell._sessionId === undefined || code === CLOSE_NORMAL) return this._finish(farewell);
    farewell._dialer._again(now);
    return this._release(farewell);
  }

  _due() {
    return earliest(
      this._going.flatMap((one) => [
        one._until,
        one._waiters.length ? one._waitersUntil : undefined,
        one._link ? one._link._limit : one._dialer._due,
      ]),
    );
  }

  /** What is due; nextAttempt() gives the number for a dial. */
  _run(now, nextAttempt) {
    const effects = [];
    for (const one of [...this._going]) {
      if (one._waiters.length && one._waitersUntil <= now) effects.push(...this._release(one));
      if (one._link?._limit <= now) effects.push(...this._hang(now, one));
      if (one._until <= now) effects.push(...this._hang(now, one), ...this._finish(one));
      else if (!one._link && one._dialer._due <= now) {
        one._link = new Link(nextAttempt(), DIALING, now + this._settings._attemptLimit);
        one._dialer._due = undefined;
        effects.push({ type: 'dial', attempt: one._link.attempt });
      }
    }
    return effects;
  }

  /** The network is back. */
  _hurry(now) {
    for (const one of this._going) if (!one._link) one._dialer._soon(now);
  }

  /** The app goes: nothing more is tried. */
  _abandon() {
    return [...this._going].flatMap((one) => [
      ...(one._link && one._sessionId !== undefined ? [hangup(one._link, CLOSE_NORMAL)] : []),
      ...this._finish(one),
    ]);
  }

  _hang(now, farewell) {
    const link = farewell._link;
    farewell._link = undefined;
    if (!link) return [];
    if (farewell._sessionId === undefined) return this._finish(farewell); // was closed with 1000 at the beginning
    farewell._dialer._again(now);
    return [hangup(link, CLOSE_NORMAL)]; // ends the session where it still arrives
  }

  _release(farewell) {
    return farewell._waiters.splice(0).map((waiter) => ({ type: 'resolve', _waiter: waiter }));
  }

  _finish(farewell) {
    this._going = this._going.filter((one) => one !== farewell);
    return this._release(farewell);
  }
}
