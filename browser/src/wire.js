/** The connections' side of the machine: dials, hellos, answers, heartbeats, losses and what follows. */
import { errors, fromWire } from './errors.js';
import { Farewells } from './farewell.js';
import { Dialer, DIALING, HELLO, Link, LIVE } from './links.js';
import { isSame, toParticipant } from './model.js';
import { Opening, Session } from './opening.js';
import { encode, Requests } from './requests.js';
import {
  CLOSE_ABNORMAL,
  CLOSE_COME_BACK,
  CLOSE_HEARTBEAT,
  DRAINING,
  HELD_CODES,
  LATE,
  SETTINGS,
  TOKEN_EXPIRED,
  TRANSITIONS,
} from './tables.js';
import { TokenKeeper } from './tokens.js';
import { endReasonOf, errorOfClose, retryOfClose, verdictOfClose, verdictOfEnd, verdictOfError } from './verdicts.js';
import { Watches } from './watches.js';

/** What the service sent. Throws where it is none of ours. */
const decode = (data) => {
  const incoming = JSON.parse(data);
  const { id, error } = incoming;
  if (Array.isArray(incoming) || (id != null && !Number.isInteger(id)) || (error != null && !error.code))
    throw new TypeError();
  return incoming;
};

/** The result of open or resume. Throws where it is none. */
const checkOpenResult = (result) => {
  const { session, participant, scopes, changed = [] } = result;
  if (typeof session.id !== 'string' || typeof session.grace !== 'number' || !Array.isArray(scopes)) throw new TypeError();
  [participant, ...changed].forEach(toParticipant);
  return { session, participant, scopes, changed };
};

/** State and everything that connections bring about. The app's side is `ClientSession`. */
export class ClientWire {
  constructor(tools, settings) {
    this.state = 'disconnected';
    this._tools = tools;
    this._settings = { ...SETTINGS, ...settings };
    this._out = [];
    this._tokens = new TokenKeeper(tools, this._settings);
    this._requests = new Requests(this._settings);
    this._watches = new Watches();
    this._farewells = new Farewells(tools, this._settings, this._requests);
    this._dialer = new Dialer(tools);
    this._links = new Map();
    this._lastAttempt = 0;
    this._retryFloor = -Infinity;
    // Later: _opening, _session, _seen, _sentToken, _waitingForToken, _offline, _restored.
  }

  _emit(...effects) {
    this._out.push(...effects);
  }

  _tell(event) {
    this._emit({ type: 'tell', event });
  }

  /** The one door through which the state changes. */
  _apply(event) {
    const state = TRANSITIONS[this.state][event];
    if (state && state !== this.state) {
      this.state = state;
      this._emit({ type: 'stateChanged', state });
    }
  }

  // -- links

  _all() {
    return [...this._links.values()];
  }

  _liveLink() {
    return this._all().find((link) => link._phase === LIVE);
  }

  _candidate() {
    return this._all().find((link) => link._phase === DIALING || link._phase === HELLO);
  }

  /** Only `close` sends 1000; every other connection is dropped with 4000 (S6). */
  _hangUp(link) {
    if (this._links.delete(link?.attempt)) this._emit({ type: 'hangup', attempt: link.attempt, code: CLOSE_COME_BACK });
  }

  _dialDue() {
    if (this._offline || this._waitingForToken || this._candidate()) return undefined;
    return this._opening || this._session ? this._dialer._due : undefined;
  }

  _nextAttempt() {
    return ++this._lastAttempt;
  }

  _dial(now) {
    const attempt = this._nextAttempt();
    this._links.set(attempt, new Link(attempt, DIALING, now + this._settings._attemptLimit, now));
    this._emit({ type: 'dial', attempt });
  }

  _runLinks(now) {
    for (const link of this._all())
      if (link._limit <= now) {
        this._hangUp(link);
        this._attemptFailed(now, new errors.ServiceUnavailableError('The service did not answer in time.'));
      } else if (link._pongUntil + LATE < now && !link._sleptUntil) {
        // The timer slept, and the answer may wait to be read: ask again. Once: a hidden page's timers are all late.
        link._pongUntil = undefined;
        link._sleptUntil = link._pingDue = now;
        this._runHeartbeat(now);
      } else if (link._pongUntil <= now) {
        this._hangUp(link);
        this._liveLost(now, link, CLOSE_HEARTBEAT, '');
      }
  }

  _runHeartbeat(now) {
    const live = this._liveLink();
    if (live?._pingDue <= now && !live._pongUntil) {
      live._pingId = this._requests._newId();
      live._pingDue = now + this._settings._pingEvery;
      live._pongUntil = now + this._settings._pongLimit;
      this._emit({ type: 'send', attempt: live.attempt, data: encode(live._pingId, 'ping', {}) });
    }
  }

  _flush() {
    const live = this._liveLink();
    if (live) this._emit(...this._requests._flush(live.attempt));
  }

  // -- inputs of the shell

  /** The connection of this attempt is there. */
  _dialed(now, attempt) {
    this._wakeUp(now);
    const farewell = this._farewells._of(attempt);
    const link = this._links.get(attempt);
    if (farewell?._link._phase === DIALING) this._emit(...this._farewells._dialed(farewell));
    else if (link?._phase === DIALING) this._hello(link);
    this._settle(now);
  }

  /** There is no connection. An error that is not retryable ends an open, never an open session. */
  _dialFailed(now, attempt, error, retryAfter) {
    this._wakeUp(now);
    const farewell = this._farewells._of(attempt);
    if (farewell) this._emit(...this._farewells._lost(now, farewell, CLOSE_ABNORMAL));
    else if (this._links.delete(attempt)) {
      if (this._opening && !this._opening._isReopen && !error.retryable) this._openFailed(now, error);
      else this._attemptFailed(now, error, retryAfter);
    }
    this._settle(now);
  }

  /** The connection is gone. code: of the Close frame, 1006 where there was none. */
  lost(now, attempt, code, reason = '') {
    this._wakeUp(now);
    const farewell = this._farewells._of(attempt);
    const link = this._links.get(attempt);
    this._links.delete(attempt);
    if (farewell) this._emit(...this._farewells._lost(now, farewell, code));
    else if (link?._phase === LIVE) this._liveLost(now, link, code, reason);
    else if (link) this._candidateLost(now, code, reason);
    this._settle(now);
  }

  /** A text message came. */
  message(now, attempt, data) {
    this._wakeUp(now);
    const farewell = this._farewells._of(attempt);
    const link = this._links.get(attempt);
    try {
      if (farewell) {
        const { id, error } = decode(data);
        this._emit(...this._farewells._answered(now, farewell, id, error && fromWire(error)));
      } else if (link) this._incoming(now, link, decode(data));
    } catch (problem) {
      this._broken(now, link, problem);
    }
    this._settle(now);
  }

  /** A message that is none of ours: the connection cannot be trusted, the session goes on. */
  _broken(now, link, problem) {
    if (!this._links.has(link?.attempt)) return;
    this._hangUp(link);
    const error = new errors.ProtocolError(`The service sent what this SDK cannot read: ${problem.name}.`);
    if (link._phase === LIVE) this._liveLost(now, link, CLOSE_COME_BACK, '');
    else if (this._opening && !this._opening._isReopen) this._openFailed(now, error);
    else this._attemptFailed(now, error);
  }

  // -- hello

  _newOpening(info, device, reason) {
    const opening = new Opening(info, device, reason);
    this._newIds(opening);
    return opening;
  }

  _newIds(opening) {
    opening._openId = this._tools._randomHex(16);
    opening._secret = this._tools._randomHex(32);
  }

  /** Send open or resume, again where the first was refused on this connection. */
  _hello(link) {
    const token = this._tokens._text;
    const opening = this._opening;
    const session = opening ? opening._saved : this._session;
    const newer = token !== this._tokens._accepted ? token : undefined;
    const [method, params] = session
      ? [
          'session.resume',
          session._resume(
            this._tools._randomHex(32),
            newer,
            this._watches._known().slice(0, this._settings._resumeWatches),
          ),
        ]
      : ['session.open', opening._params(token, this._tools._sdk)];
    link._phase = HELLO;
    link._helloId = this._requests._newId();
    this._sentToken = token;
    this._emit({ type: 'send', attempt: link.attempt, data: encode(link._helloId, method, params) });
  }

  _incoming(now, link, incoming) {
    const { id, method } = incoming;
    if (method != null) {
      if (link._phase === LIVE) this._notified(now, method, incoming.params ?? {});
    } else if (link._phase === HELLO && id === link._helloId) this._helloAnswered(now, link, incoming);
    else if (link._phase === LIVE && id != null) {
      if (id === link._pingId) link._ponged();
      else {
        const request = this._requests._take(id);
        if (request) this._answered(now, request, incoming);
      }
    }
  }

  _helloAnswered(now, link, incoming) {
    const opening = this._opening;
    if (incoming.error) {
      const error = fromWire(incoming.error);
      if (opening) this._openRefused(now, link, opening, error);
      else this._resumeRefused(now, link, error);
      return;
    }
    const result = checkOpenResult(incoming.result);
    const old = this._liveLink();
    link._goLive(now);
    this._hangUp(old);
    this._tokens._accepted = this._sentToken;
    this._dialer._due = undefined;
    this._retryFloor = -Infinity;
    if (opening) this._opened(now, opening, result);
    else this._resumed(result);
    if (this._tokens._text !== this._tokens._accepted) this._sendToken();
  }

  _opened(now, opening, result) {
    const participant = toParticipant(result.participant);
    const session = opening._saved ?? new Session(result.session.id, opening._secret, opening._info, opening._device);
    session._resumed(result);
    session._participant = participant;
    session._since = now;
    session._reopened = opening._isReopen;
    this._session = session;
    this._opening = undefined;
    this._apply('opened');
    if (opening._isReopen) {
      this._tell({ type: 'sessionReopened', participant, reason: opening._reopenReason, previousId: opening._previousId });
      this._requests._resend();
      this._watchAgain(this._watches._known());
    }
    for (const waiter of opening._waiters.keys()) this._emit({ type: 'resolve', _waiter: waiter, result: participant });
  }

  _resumed(result) {
    this._session._resumed(result);
    this._requests._resend();
    this._apply('resumed');
    this._own(result.participant, true);
    this._tellChanged(this._watches._snapshot(result.changed, true));
    this._watchAgain(this._watches._known().slice(this._settings._resumeWatches));
  }

  /** What the hello could not carry. Answers are snapshots of those that differ. */
  _watchAgain(known) {
    this._requests._dropOwn('participants.watch');
    for (let start = 0; start < known.length; start += this._settings._resumeWatches)
      this._requests._add('participants.watch', { known: known.slice(start, start + this._settings._resumeWatches) });
  }

  // -- refusals

  _openRefused(now, link, opening, error) {
    const verdict = verdictOfError(error);
    if (verdict === 'refresh' && this._tokens._refreshable && !opening._refreshed) {
      opening._refreshed = true;
      this._hangUp(link);
      this._refreshThenDial(now);
    } else if (verdict === 'retry') {
      this._hangUp(link);
      this._attemptFailed(now, error, error.retryAfter);
    } else if (opening._saved && verdict !== 'refresh') {
      // The session of the page before this one is gone: the same connection takes an open.
      opening._saved = undefined;
      link._limit = now + this._settings._attemptLimit;
      this._hello(link);
    } else if (verdict === 'renew' && !opening._renewed) {
      // The session that an unanswered open made has come and gone meanwhile.
      opening._renewed = true;
      this._newIds(opening);
      this._hello(link);
    } else {
      this._hangUp(link);
      this._openFailed(now, error);
    }
  }

  _openFailed(now, error) {
    const opening = this._opening;
    if (!opening) return;
    if (opening._isReopen) {
      const noToken = error instanceof errors.TokenExpiredError || error instanceof errors.TokenRefreshError;
      this._ended(now, noToken ? opening._reopenReason : endReasonOf(error), error.message, { error });
      return;
    }
    this._forget(error);
    this._apply('failed');
    for (const waiter of opening._waiters.keys()) this._emit({ type: 'reject', _waiter: waiter, error });
  }

  _resumeRefused(now, link, error) {
    const verdict = verdictOfError(error);
    if (verdict === 'renew') {
      this._reopen(now, endReasonOf(error), error, link);
      return;
    }
    this._hangUp(link);
    if (verdict === 'retry') this._attemptFailed(now, error, error.retryAfter);
    else if (verdict === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (verdict !== 'superseded' || !this._liveLink()) this._ended(now, endReasonOf(error), error.message, { error });
  }

  _refreshThenDial(now) {
    this._tokens._spend();
    this._waitingForToken = true;
    this._dialer._due = now;
  }

  /** One new session in place of one that is gone; link: a connection on which to ask for it. */
  _reopen(now, reason, error, link) {
    const session = this._session;
    if (!session) return;
    const can = this._tokens._usable() || this._tokens._refreshable;
    if (!can || (session._reopened && now < session._since + this._settings._reopenGap)) {
      this._ended(now, reason, error.message, { error });
      return;
    }
    this._hangUp(this._liveLink());
    const opening = this._newOpening(session._lastInfo(), session._device, reason);
    opening._previousId = session._participant.id;
    this._opening = opening;
    this._tokens._accepted = undefined;
    this._apply('lost');
    if (link && this._tokens._usable()) {
      link._limit = now + this._settings._attemptLimit;
      this._hello(link);
    } else {
      this._hangUp(link);
      this._dialer._soon(now);
    }
  }

  // -- losses

  _attemptFailed(now, error, retryAfter) {
    if (this._opening) this._opening._lastError = error;
    if (retryAfter !== undefined) this._retryFloor = now + retryAfter;
    this._dialer._again(now, retryAfter);
  }

  _candidateLost(now, code, text) {
    const verdict = verdictOfClose(code);
    const error = errorOfClose(code, text);
    const retry = retryOfClose(text);
    if (verdict !== 'retry' && this._opening?._saved) {
      this._opening._saved = undefined;
      this._dialer._due = now;
    } else if (verdict === 'final' && !this._liveLink()) {
      if (this._opening) this._openFailed(now, error);
      else this._ended(now, endReasonOf(error), error.message, { error });
    } else if (verdict === 'renew' && !this._opening) this._reopen(now, endReasonOf(error), error);
    else if (verdict === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (retry) this._comeBack(now, retry);
    else
      this._attemptFailed(
        now,
        new errors.ServiceUnavailableError(`The connection was lost (close code ${code}${text && `: ${text}`}).`),
      );
  }

  _liveLost(now, link, code, text) {
    const session = this._session;
    if (!session) return;
    const error = errorOfClose(code, text);
    const candidate = this._candidate();
    const retry = retryOfClose(text);
    let verdict = verdictOfClose(code);
    // Superseded by ourselves: the answer to the newer attempt is on its way.
    if (verdict === 'superseded' && candidate?._phase === HELLO) verdict = 'retry';
    if (verdict === 'final' || verdict === 'superseded') {
      this._ended(now, endReasonOf(error), error.message, { error });
      return;
    }
    session._lostAt = now;
    if (verdict === 'renew') {
      this._hangUp(candidate);
      this._reopen(now, endReasonOf(error), error);
      return;
    }
    this._apply('lost');
    if (verdict === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (!candidate && retry) this._comeBack(now, retry);
    else if (!candidate && this._dialer._due === undefined) {
      if (now >= link._since + this._settings._stableAfter) this._dialer._failures = 0;
      this._dialer._again(now);
    }
  }

  /** For good, and not by `close`. */
  _ended(now, reason, message, { by, error, session }) {
    const had = this._session ?? session;
    for (const link of this._all()) this._hangUp(link);
    for (const waiter of this._opening?._waiters.keys() ?? []) this._emit({ type: 'reject', _waiter: waiter, error });
    this._forget(new errors.SessionEndedError(message || undefined, { endReason: reason }));
    this._apply('ended');
    if (had) this._tell({ type: 'sessionEnded', reason, message, by, error });
  }

  /** After close or an end nothing is left but the token. */
  _forget(error) {
    this._emit(...this._requests._rejectAll(error), ...this._tokens._giveUp());
    this._opening = this._session = undefined;
    this._links.clear();
    this._watches._held.clear();
    this._dialer._stop();
    this._tokens._accepted = undefined;
    this._waitingForToken = false;
    this._retryFloor = -Infinity;
  }

  // -- answers and notifications

  _answered(now, request, { result, error }) {
    const { method, waiter } = request;
    if (error) {
      this._refused(now, request, fromWire(error));
      return;
    }
    let value;
    try {
      if (method === 'session.updateParticipantInfo' || method === 'session.getParticipant') {
        value = toParticipant(result.participant);
        this._own(result.participant);
      } else if (method === 'participants.get' || method === 'participants.watch') {
        value = result.participants.map(toParticipant);
        if (method === 'participants.watch')
          this._tellChanged(this._watches._snapshot(result.participants, waiter === undefined));
      } else if (method === 'session.refreshToken') {
        const { scopes } = result;
        if (!Array.isArray(scopes)) throw new TypeError();
        this._tokens._accepted = request.params.token;
        if (this._session) this._session._scopes = scopes;
        this._requests._resendHeld();
      }
    } catch {
      const unreadable = new errors.ProtocolError(`The answer to ${method} cannot be read.`);
      if (waiter !== undefined) this._emit({ type: 'reject', _waiter: waiter, error: unreadable });
      return;
    }
    if (waiter !== undefined) this._emit({ type: 'resolve', _waiter: waiter, result: value });
  }

  _refused(now, request, error) {
    const { method, waiter } = request;
    if (method === 'session.refreshToken') this._tokenRefused(request, error);
    else if (HELD_CODES.includes(error.code)) {
      this._requests._hold(request, error);
      if (error.code === TOKEN_EXPIRED) this._tokens._spend();
    } else if (waiter !== undefined) {
      if (error.participant)
        try {
          error.participant = toParticipant(error.participant);
        } catch {
          error.participant = undefined;
        }
      this._emit({ type: 'reject', _waiter: waiter, error });
    } else if (error.retryable) this._requests._hold(request, error); // the machine's own: with the next resume
  }

  _tokenRefused(request, error) {
    const isSpent = error.code === TOKEN_EXPIRED;
    if (error.retryable && !isSpent) {
      this._requests._hold(request, error);
      return;
    }
    this._tell({ type: 'tokenRefreshFailed', error, isExpired: !this._tokens._usable() });
    if (isSpent) this._tokens._spend();
  }

  /** Renew on the open connection (promise 6). */
  _sendToken() {
    const token = this._tokens._text;
    if (!this._liveLink() || token === undefined || token === this._tokens._accepted) return;
    this._requests._dropOwn('session.refreshToken');
    this._requests._add('session.refreshToken', { token });
  }

  _notified(now, method, params) {
    switch (method) {
      case 'participants.changed':
        this._tellChanged(this._watches._notify(params.participants));
        for (const wire of params.participants) this._own(wire);
        break;
      case 'session.ended':
        this._serviceEnded(now, params);
        break;
      case 'session.moveOn':
        this._moveOn(now, params);
        break;
      case 'session.stay':
        this._stay();
        break;
      case 'session.tokenExpiring':
        // News only where this clock is so far behind that no mark of the schedule has come yet.
        if (this._tokens._text === this._tokens._accepted && this._tokens._marks.length > 2) this._tokens._want(false);
    }
  }

  _serviceEnded(now, { reason, message = '', retry, by }) {
    if (typeof reason !== 'string') throw new TypeError();
    const error = new errors.SessionEndedError(message || undefined, { endReason: reason });
    if (retry) {
      this._hangUp(this._liveLink());
      if (this._session) this._session._lostAt = now;
      this._apply('lost');
      this._comeBack(now, retry);
    } else if (verdictOfEnd(reason) === 'renew') this._reopen(now, reason, error);
    else this._ended(now, reason, message, { by: by?.device ?? undefined, error });
  }

  /** The service said when: not sooner, also not on a hint. */
  _comeBack(now, { after, jitter = 0 }) {
    this._dialer._steer(now, after, jitter);
    this._retryFloor = now + Math.max(0, after);
  }

  /** Make before break: the old connection is kept until another has been accepted (promise 8, S9). */
  _moveOn(now, { after, jitter, reason }) {
    if (typeof after !== 'number' || typeof jitter !== 'number') throw new TypeError();
    if (reason !== DRAINING) this._apply('move_on');
    if (!this._candidate()) this._comeBack(now, { after, jitter });
  }

  /** The node is well again. A resume already asked for is let finish: it may have been taken. */
  _stay() {
    const candidate = this._candidate();
    if (candidate?._phase === DIALING) this._hangUp(candidate);
    this._dialer._stop();
    this._requests._resendHeld();
    this._apply('stay');
  }

  _own(wire, isSnapshot) {
    const session = this._session;
    if (wire.id !== session?._participant.id) return;
    const participant = toParticipant(wire);
    if (
      !isSame(participant, session._participant) &&
      (isSnapshot || participant.version > session._participant.version)
    ) {
      session._participant = participant;
      this._tell({ type: 'participantUpdated', participant });
    }
    // The service tells each version once on a connection, in whatever message: also to whoever watches himself.
    this._tellChanged(this._watches._notify([wire]));
  }

  _tellChanged(participants) {
    if (participants.length) this._tell({ type: 'participantsChanged', participants });
  }
}
