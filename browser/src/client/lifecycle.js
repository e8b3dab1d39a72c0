/** The session's life: opened, resumed, lost, moved, reopened, closed, ended. */
import { boundedRetry } from '../backoff.js';
import { errors, fromWire } from '../errors.js';
import { toParticipant } from '../model.js';
import { CLOSE_COME_BACK, CLOSE_NORMAL, DRAINING } from '../tables.js';
import { Attempts, DIALING, disconnect, HELLO } from './attempts.js';
import { ServiceClock } from './clock.js';
import { AVAILABLE, Opening, Session } from './opening.js';
import { Output } from './output.js';
import { PendingCloses } from './pending_close.js';
import { Replies } from './replies.js';
import { PendingRequests, sendText } from './requests.js';
import { actionOfClose, actionOfEnd, actionOfError, endReasonOf, errorOfClose, retryOfClose } from './retry_policy.js';
import { LocalRooms } from './rooms.js';
import { TokenManager } from './tokens.js';
import { WatchedParticipants } from './watches.js';

/** The result of open or resume. Throws where it cannot be one. */
const checkOpenResult = (result) => {
  const { session, participant, scopes, capabilities, changed = [], limits } = result;
  if (typeof session.id !== 'string' || typeof session.grace !== 'number' || !Array.isArray(scopes)) throw new TypeError();
  [participant, ...changed].forEach(toParticipant);
  const { rooms = [], lostRooms = [], rosters, invitations = [] } = result;
  const ofRooms = { rooms, lostRooms, rosters, invitations };
  return { session, participant, scopes, capabilities: capabilities ?? [], changed, limits: limits ?? {}, ...ofRooms };
};

/**
 * Owns the session, the open under way, and the parts that keep them. _opening and _session: both undefined without a
 * session; _opening alone while `open` is under way; _session alone when it is open; both while a session is being
 * opened in place of one that is gone.
 */
export class Lifecycle {
  constructor(tools, settings) {
    this._tools = tools;
    this._settings = settings;
    this._output = new Output();
    this._clock = new ServiceClock();
    this._tokens = new TokenManager(settings, tools, this._clock);
    this._requests = new PendingRequests(settings);
    this._watches = new WatchedParticipants();
    this._attempts = new Attempts(tools, settings, this._output);
    this._closes = new PendingCloses(tools, settings, this._requests, this._attempts);
    this._rooms = new LocalRooms(this._output, this._requests);
    this._replies = new Replies(this._output, this._tokens, this._requests, this._watches, this._rooms);
    this._retryFloor = -Infinity; // the service asked not to come back sooner, whatever the network hints
    // Later: _opening, _session; _waitingForToken, the next dial waits for the app's refresh callback; _sentToken;
    // _lastEnd, how the last session ended, if not by `close`, until the next `open`.
  }

  // -- open and resume

  _startOpening(now, info, device, saved) {
    this._lastEnd = undefined;
    this._opening = this._newOpening(info, device);
    this._opening._saved = saved;
    this._output._apply('open');
    this._attempts._redial._atOnce(now);
    return this._opening;
  }

  _newOpening(info, device, reopenReason) {
    const opening = new Opening(info, device, reopenReason);
    this._newIds(opening);
    return opening;
  }

  _newIds(opening) {
    opening._openId = this._tools._randomHex(16);
    opening._secret = this._tools._randomHex(32);
  }

  /** Send session.open or session.resume; again where the first was refused on this connection. */
  _sendHello(attempt) {
    const token = this._tokens._text;
    const opening = this._opening;
    const session = opening ? opening._saved : this._session;
    const newer = token !== this._tokens._accepted ? token : undefined;
    const watching = this._watches._known().slice(0, this._settings._watchesPerMessage);
    const [method, params] = session
      ? ['session.resume', session._resume(this._tools._randomHex(32), newer, watching, this._rooms._known(), !!opening)]
      : ['session.open', opening._params(token, this._tools._sdk)];
    attempt._phase = HELLO;
    attempt._helloId = this._requests._newId();
    this._sentToken = token;
    this._output._emit(sendText(attempt._number, attempt._helloId, method, params));
  }

  /** The reply to session.open or session.resume. */
  _helloAnswered(now, attempt, incoming) {
    const opening = this._opening;
    if (incoming.error) {
      const error = fromWire(incoming.error);
      if (opening) this._openRefused(now, attempt, opening, error);
      else this._resumeRefused(now, attempt, error);
      return;
    }
    const result = checkOpenResult(incoming.result);
    const old = this._attempts._live();
    attempt._goLive(now);
    this._attempts._disconnect(old);
    this._tokens._accepted = this._sentToken;
    if (result.session.serverTime > 0) this._clock._learn(result.session.serverTime / 1000);
    if (this._sentToken === this._tokens._text) this._tokens._clockLearned();
    this._requests._connected(now, result.limits);
    this._attempts._redial._due = undefined;
    this._retryFloor = -Infinity;
    if (opening) this._opened(now, opening, result);
    else this._resumed(result);
    this._replies._sendToken(); // where the refresh callback returned another one meanwhile
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
    this._output._apply('opened');
    if (opening._isReopen) {
      const { _reopenReason: reason, _previousId: previousId } = opening;
      this._output._notify({ type: 'sessionReopened', participant, reason, previousId });
      this._requests._resend();
      this._replies._watchAgain(this._watches._known());
      this._rooms._reopened(result);
    } else this._rooms._opened(result);
    for (const waiter of opening._waiters.keys()) this._output._resolve(waiter, participant);
  }

  _resumed(result) {
    this._session._resumed(result);
    this._requests._resend();
    this._output._apply('resumed');
    this._replies._ownRecord(this._session, result.participant, true);
    this._replies._changed(this._watches._snapshot(result.changed, true));
    this._replies._watchAgain(this._watches._known().slice(this._settings._watchesPerMessage));
    this._rooms._resumed(result);
  }

  // -- refusals

  _openRefused(now, attempt, opening, error) {
    const action = actionOfError(error);
    if (action === 'refresh' && this._tokens._refreshable && !opening._refreshed) {
      opening._refreshed = true;
      this._attempts._disconnect(attempt);
      this._refreshThenDial(now);
    } else if (action === 'retry') {
      this._attempts._disconnect(attempt);
      this._attemptFailed(now, error, error.retryAfter);
    } else if (opening._saved && action !== 'refresh') {
      // The session of the page before this one is gone: the same connection takes an open.
      opening._saved = undefined;
      attempt._deadline = now + this._settings._attemptTimeout;
      this._sendHello(attempt);
    } else if (action === 'reopen' && !opening._hasNewIds) {
      // The session that an unanswered open had made has ended meanwhile.
      opening._hasNewIds = true;
      this._newIds(opening);
      this._sendHello(attempt);
    } else {
      this._attempts._disconnect(attempt);
      this._openFailed(now, error);
    }
  }

  /** The open under way has failed for good. */
  _openFailed(now, error) {
    const opening = this._opening;
    if (!opening) return;
    if (opening._isReopen) {
      const noToken = error instanceof errors.TokenExpiredError || error instanceof errors.TokenRefreshError;
      this._ended(now, noToken ? opening._reopenReason : endReasonOf(error), error.message, { error });
      return;
    }
    this._forget(error);
    this._output._apply('failed');
    for (const waiter of opening._waiters.keys()) this._output._reject(waiter, error);
  }

  _resumeRefused(now, attempt, error) {
    const action = actionOfError(error);
    if (action === 'reopen') {
      this._reopen(now, endReasonOf(error), error, attempt);
      return;
    }
    this._attempts._disconnect(attempt);
    if (action === 'retry') this._attemptFailed(now, error, error.retryAfter);
    else if (action === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (action !== 'superseded' || !this._attempts._live())
      this._ended(now, endReasonOf(error), error.message, { error });
  }

  _refreshThenDial(now) {
    this._tokens._expire();
    this._waitingForToken = true;
    this._attempts._redial._due = now;
  }

  /** Open one new session in place of one that is gone. attempt: a connection on which to ask for it. */
  _reopen(now, reason, error, attempt) {
    const session = this._session;
    if (!session) return;
    const hasToken = this._tokens._mayBeTried() || this._tokens._refreshable;
    if (!hasToken || (session._reopened && now < session._since + this._settings._reopenGap)) {
      this._ended(now, reason, error.message, { error });
      return;
    }
    this._attempts._disconnect(this._attempts._live());
    const opening = this._newOpening(session._lastInfo(), session._device, reason);
    opening._previousId = session._participant.id;
    opening._status = session._status === AVAILABLE ? undefined : session._status;
    this._opening = opening;
    this._tokens._accepted = undefined;
    this._output._apply('lost');
    if (attempt && this._tokens._mayBeTried()) {
      attempt._deadline = now + this._settings._attemptTimeout;
      this._sendHello(attempt);
    } else {
      this._attempts._disconnect(attempt);
      this._attempts._redial._atOnce(now);
    }
  }

  // -- losses

  /** There is no connection. An error that is not retryable ends an open, never an open session. */
  _dialFailed(now, error, retryAfter) {
    if (this._opening && !this._opening._isReopen && !error.retryable) this._openFailed(now, error);
    else this._attemptFailed(now, error, retryAfter);
  }

  /** Dial again, later. */
  _attemptFailed(now, error, retryAfter) {
    if (this._opening) this._opening._lastError = error;
    if (retryAfter !== undefined) this._retryFloor = now + boundedRetry(retryAfter);
    this._attempts._redial._afterFailure(now, retryAfter);
  }

  /** The connection closed before open or resume was answered. */
  _candidateLost(now, code, text) {
    const action = actionOfClose(code);
    const error = errorOfClose(code, text);
    const retry = retryOfClose(text);
    if (action !== 'retry' && this._opening?._saved) {
      this._opening._saved = undefined;
      this._attempts._redial._due = now;
    } else if (action === 'final' && !this._attempts._live()) {
      if (this._opening) this._openFailed(now, error);
      else this._ended(now, endReasonOf(error), error.message, { error });
    } else if (action === 'reopen' && !this._opening) this._reopen(now, endReasonOf(error), error);
    else if (action === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (retry) this._comeBack(now, retry);
    else
      this._attemptFailed(
        now,
        new errors.ServiceUnavailableError(`The connection was lost (close code ${code}${text && `: ${text}`}).`),
      );
  }

  /**
   * The live connection's node no longer has the session. It may have ended, which the service will say in a
   * moment, or have moved: then a resume finds it.
   */
  _sessionUnknown(now, attempt) {
    attempt._deadline ??= now + this._settings._endTimeout;
  }

  /** The session's connection is gone. */
  _liveLost(now, attempt, code, text) {
    const session = this._session;
    if (!session) return;
    const error = errorOfClose(code, text);
    const candidate = this._attempts._candidate();
    const retry = retryOfClose(text);
    const redial = this._attempts._redial;
    let action = actionOfClose(code);
    // Superseded by ourselves, perhaps: the reply to an attempt is on its way, or was lost.
    if (action === 'superseded' && session._nextSecret !== undefined) action = 'retry';
    if (action === 'final' || action === 'superseded') {
      this._ended(now, endReasonOf(error), error.message, { error });
      return;
    }
    session._lostAt = now;
    if (action === 'reopen') {
      this._attempts._disconnect(candidate);
      this._reopen(now, endReasonOf(error), error);
      return;
    }
    this._output._apply('lost');
    if (action === 'refresh' && this._tokens._refreshable) this._refreshThenDial(now);
    else if (!candidate && retry) this._comeBack(now, retry);
    else if (!candidate && redial._due === undefined) {
      if (now >= attempt._since + this._settings._stableAfter) redial._failures = 0;
      redial._afterFailure(now);
    }
  }

  // -- what the service says

  /** session.ended: for good, or until the client comes back. */
  _endedByService(now, { reason, message = '', retry, by }) {
    if (typeof reason !== 'string') throw new TypeError();
    const error = new errors.SessionEndedError(message || undefined, { endReason: reason });
    if (retry) {
      this._attempts._disconnect(this._attempts._live());
      if (this._session) this._session._lostAt = now;
      this._output._apply('lost');
      this._comeBack(now, retry);
    } else if (actionOfEnd(reason) === 'reopen') this._reopen(now, reason, error);
    else this._ended(now, reason, message, { by: by?.device ?? undefined, error });
  }

  /** The service said when: not sooner, whatever the network hints. */
  _comeBack(now, { after, jitter = 0 }) {
    this._attempts._redial._asServiceSays(now, after, jitter);
    this._retryFloor = now + boundedRetry(after);
  }

  /** Make before break: the old connection is kept until another one is accepted (promise 8, S9). */
  _moveOn(now, { after, jitter, reason }) {
    if (typeof after !== 'number' || typeof jitter !== 'number') throw new TypeError();
    if (reason !== DRAINING) this._output._apply('move_on');
    if (!this._attempts._candidate()) this._comeBack(now, { after, jitter });
  }

  /** The node is well again. A resume that was sent is not cancelled: the service may have accepted it. */
  _stay() {
    const candidate = this._attempts._candidate();
    if (candidate?._phase === DIALING) this._attempts._disconnect(candidate);
    this._attempts._redial._stop();
    this._requests._resendHeld();
    this._output._apply('stay');
  }

  // -- the token

  /** The app, or its refresh callback, gave another token. */
  _tokenChanged(now) {
    if (this._attempts._live()) this._replies._sendToken();
    // A dial that waited for the token is due now. One that waits for its delay is not.
    if (this._waitingForToken) {
      this._waitingForToken = false;
      this._attempts._redial._due = now;
    }
  }

  /** The refresh callback failed. Without a usable token the session may have to end. */
  _refreshFailed(now, error, isExpired) {
    const tokens = this._tokens;
    this._output._notify({ type: 'tokenRefreshFailed', error, isExpired });
    if (tokens._isUsable()) return;
    if (!isExpired) {
      tokens._requestRefresh(true); // the token expired during the call: ask with true
      return;
    }
    const waiting = this._waitingForToken;
    this._waitingForToken = false;
    const session = this._session;
    const transient = error instanceof errors.ServiceError && error.retryable;
    if (transient && waiting) this._attemptFailed(now, error, error.retryAfter);
    else if (transient && tokens._inLeeway()) tokens._requestRefresh(true);
    else if (this._opening && waiting) this._openFailed(now, error);
    else if (session && this._networkMayBeDown(now, session, error)) {
      // The callback needs the network that this session is missing too.
      if (waiting) this._attempts._redial._afterFailure(now);
      else tokens._requestRefresh(true);
    } else if (session) {
      // The session is not coming back: nobody should see it as unreachable for the rest of the grace.
      const reason = 'token_expired';
      this._leave(now, [], error, new errors.SessionEndedError(undefined, { endReason: reason }));
      this._ended(now, reason, error.message, { error, session });
    }
  }

  /** Whether a failed refresh may be the network's fault: the connection is lost, or does not answer. */
  _networkMayBeDown(now, session, error) {
    if (error instanceof errors.TokenInvalidError) return false;
    const live = this._attempts._live();
    return live ? live._pongDeadline !== undefined : now < session._lostAt + session._grace;
  }

  // -- close and end

  /** Forget the session or the open under way, and notify the service. openingError: for the callers of `open`. */
  _leave(now, waiters, openingError, error) {
    const opening = this._opening;
    const session = this._session ?? opening?._saved;
    const live = this._attempts._live();
    const candidate = this._attempts._candidate();
    for (const waiter of opening?._waiters.keys() ?? []) this._output._reject(waiter, openingError);
    this._forget(error);
    if (session && !opening?._isReopen) {
      if (candidate) this._output._emit(disconnect(candidate, CLOSE_COME_BACK));
      const rest = session._lostAt === undefined ? session._grace : session._lostAt + session._grace - now;
      this._output._emit(...this._closes._start(now, session.id, session._secrets(), rest, live, waiters));
    } else if (candidate?._phase === HELLO) {
      const { _closeTimeout } = this._settings;
      this._output._emit(...this._closes._start(now, undefined, [], _closeTimeout, candidate, waiters));
    } else {
      if (candidate) this._output._emit(disconnect(candidate, CLOSE_NORMAL));
      for (const waiter of waiters) this._output._resolve(waiter);
    }
  }

  /** Cancel the open under way when its last caller has gone. */
  _giveUpIfAlone(now) {
    const opening = this._opening;
    if (opening && !opening._waiters.size && !opening._isReopen) {
      this._leave(now, [], new errors.OpenCancelledError(), closed());
      this._output._apply('failed');
    }
  }

  /** The session ended for good, and not by `close`. session: the one that _leave has forgotten already. */
  _ended(now, reason, message, { by, error, session = this._session }) {
    for (const attempt of this._attempts._all()) this._attempts._disconnect(attempt);
    for (const waiter of this._opening?._waiters.keys() ?? []) this._output._reject(waiter, error);
    this._forget(new errors.SessionEndedError(message || undefined, { endReason: reason }));
    this._output._apply('ended');
    if (session) {
      this._lastEnd = { reason, message, error };
      this._output._notify({ type: 'sessionEnded', reason, message, by, error });
    }
  }

  /** After a close or an end nothing is left but the token. error: for all callers that wait. */
  _forget(error) {
    this._output._emit(...this._requests._rejectAll(error), ...this._tokens._cancel());
    this._rooms._clear(endReasonOf(error));
    this._opening = this._session = undefined;
    this._attempts._clear();
    this._watches._held.clear();
    this._attempts._redial._stop();
    this._tokens._accepted = undefined;
    this._waitingForToken = false;
    this._retryFloor = -Infinity;
  }
}

/** What callers get whose session the app has closed. */
export const closed = () => new errors.SessionEndedError(undefined, { endReason: 'closed' });
