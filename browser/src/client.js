/**
 * ClientSession: what an SDK must do next. A machine without I/O, clock or chance; the Python SDK's, one to one.
 *
 * Inputs go in with `now` (seconds, a clock that never goes back) and never throw, in any order; effects come out of
 * `effects` in order; `deadline` says when `tick` is next due. Every dial has an attempt number that is retired when
 * the attempt is over, so a late input dies by number. The shell pumps effects and owns one timer; it decides nothing.
 *
 * One input more than in Python: `restore`, for the page that comes after a reload (S20).
 */
import { errors } from './errors.js';
import { earliest, HELLO } from './links.js';
import { cleanInfo, isEmpty, sameInfo, Session } from './opening.js';
import { CLOSE_COME_BACK, CLOSE_NORMAL, WAKE_GAP } from './tables.js';
import { pieces } from './watches.js';
import { ClientWire } from './wire.js';

const closed = () => new errors.SessionEndedError(undefined, { endReason: 'closed' });

/** One SDK's session: at most one at a time, with everything that keeps it. */
export class ClientSession extends ClientWire {
  /** The session's own participant, as last known; undefined without a session. */
  get participant() {
    return this._session?._participant;
  }

  /** The session scopes of the token, as the service said. */
  get scopes() {
    return this._session?._scopes ?? [];
  }

  /** The external id in the token, if there is a token and it has one. */
  get _tokenExternalId() {
    return this._tokens._glance?.externalId;
  }

  /** From a successful open until close or a final end, also while reconnecting. */
  isOpen() {
    return !!this._session;
  }

  /** What the shell must do, in order, since it last asked. */
  _effects() {
    const effects = this._out;
    this._out = [];
    return effects;
  }

  // -- the app

  /** A token, or undefined: the first is asked for. The error where it is refused. */
  _setToken(now, token, refreshable) {
    this._wakeUp(now);
    const keeper = this._tokens;
    const idle = this.state === 'disconnected';
    if (token === undefined) {
      if (!idle)
        return new errors.SessionAlreadyOpenError('Key and secret cannot be changed under a session.', {
          hint: 'Close first.',
        });
      keeper._text = keeper._glance = undefined;
      keeper._refreshable = refreshable;
      return undefined;
    }
    if (idle) keeper._glance = undefined; // the next token may be for anybody: the app initialises anew
    let checked;
    try {
      checked = keeper._check(token);
    } catch (error) {
      return error;
    }
    keeper._refreshable = refreshable;
    keeper._adopt(...checked, false);
    this._tokenChanged(now);
    this._settle(now);
    return undefined;
  }

  /** Resolve the waiter with the participant, or reject it. timeout: seconds, undefined for no limit. */
  open(now, waiter, info, device = {}, timeout = 10) {
    this._wakeUp(now);
    const wanted = cleanInfo(info);
    const error = this._openError(wanted);
    if (error) this._emit({ type: 'reject', _waiter: waiter, error });
    else if (this._session) this._emit({ type: 'resolve', _waiter: waiter, result: this._session._participant });
    else {
      if (!this._opening) {
        this._opening = this._newOpening(wanted, device);
        this._opening._saved = this._takeRestored(wanted, device);
        this._apply('open');
        this._dialer._soon(now);
      }
      this._opening._waiters.set(waiter, timeout === null ? undefined : now + timeout);
    }
    this._settle(now);
  }

  _openError(info) {
    if (!this._tokens._initialized()) return new errors.NotInitializedError();
    const opening = this._opening;
    const session = this._session;
    if (session) return session._isSame(info) ? undefined : new errors.SessionAlreadyOpenError();
    if (opening && !isEmpty(info) && !sameInfo(info, opening._info))
      return new errors.SessionAlreadyOpenError('A session is being opened with other info.');
    const tokenSays = this._tokenExternalId;
    if (info.externalId && tokenSays !== undefined && info.externalId !== tokenSays) return new errors.ExternalIdMismatchError();
    return undefined;
  }

  /** The caller of `open` has gone. The open goes on while others wait for it. */
  _cancelOpen(now, waiter) {
    this._wakeUp(now);
    if (this._opening?._waiters.delete(waiter)) this._giveUpIfAlone(now);
    this._settle(now);
  }

  /** End the session. The waiter is resolved when the service has heard it, or after 2 s; it is never rejected. */
  close(now, waiter) {
    this._wakeUp(now);
    if (!this._opening && !this._session) {
      if (!this._farewells._join(waiter)) this._emit({ type: 'resolve', _waiter: waiter });
    } else {
      this._leave(now, [waiter], new errors.OpenCancelledError(), closed());
      this._apply('close');
    }
    this._settle(now);
  }

  /** The app goes: everything ends at once, nothing is tried in the background. */
  abandon(now) {
    this.close(now, -1);
    this._emit(...this._farewells._abandon());
    this._settle(now);
  }

  /** Any request of an open session; while reconnecting it waits, `timeout` seconds at most (10). */
  request(now, waiter, method, params = {}, timeout = this._settings._requestLimit) {
    this._wakeUp(now);
    const error = this._session
      ? this._requests._add(method, params, waiter, now + timeout)
      : new errors.SessionNotOpenError();
    if (error) this._emit({ type: 'reject', _waiter: waiter, error });
    this._settle(now);
  }

  /** Change the own participant: undefined leaves as it is, "" clears. Resolves with the participant. */
  update(now, waiter, name, avatarUrl, ifRevision) {
    const updateId = this._tools._randomHex(16);
    this.request(now, waiter, 'session.updateParticipantInfo', { updateId, name, avatarUrl, ifRevision });
  }

  /** The messages that so many ids need: each is a `request` of its own. */
  _participantRequests(ids, externalIds) {
    return pieces(ids, externalIds, this._settings._resumeWatches);
  }

  /** Stop watching; nothing more is told of these from now on. */
  unwatch(now, waiter, params) {
    this._watches._drop(params.ids ?? [], params.externalIds ?? []);
    this.request(now, waiter, 'participants.unwatch', params);
  }

  // -- a page that goes, and the one that comes after it (S20)

  /** What the next page needs to resume this session, as JSON takes it; undefined where there is none. */
  _snapshot() {
    const session = this._session ?? this._opening?._saved;
    if (!session) return this._restored;
    const { app, externalId } = this._tokens._glance ?? {};
    return {
      id: session.id,
      secrets: session._secrets(),
      attempt: session._attempt,
      grace: session._grace,
      info: session._info,
      app,
      externalId,
    };
  }

  /** The session of the page before this one: the next `open` resumes it, if it asks for the same. */
  _restore(saved) {
    this._restored = saved;
  }

  _takeRestored(info, device) {
    const saved = this._restored;
    this._restored = undefined;
    const glance = this._tokens._glance;
    const isOther = glance && (glance.app !== saved?.app || glance.externalId !== saved?.externalId);
    if (!saved || isOther || !sameInfo(saved.info, info)) return undefined;
    const session = new Session(saved.id, saved.secrets[0], info, device);
    session._nextSecret = saved.secrets[1];
    session._attempt = saved.attempt;
    session._grace = saved.grace;
    return session;
  }

  // -- the app's refresh callback

  /** What the refresh callback returned, or the error that it threw. */
  token(now, number, answer) {
    this._wakeUp(now);
    const before = this._tokens._text;
    const outcome = this._tokens._answer(number, answer);
    if (outcome) {
      const [error, isExpired] = outcome;
      if (error) this._refreshFailed(now, error, isExpired);
      else if (before !== this._tokens._text) this._tokenChanged(now);
    }
    this._settle(now);
  }

  _tokenChanged(now) {
    this._sendToken();
    // A dial that waited for the token goes now; one that waits for its delay does not.
    if (this._waitingForToken) {
      this._waitingForToken = false;
      this._dialer._due = now;
    }
  }

  _refreshFailed(now, error, isExpired) {
    const tokens = this._tokens;
    this._tell({ type: 'tokenRefreshFailed', error, isExpired });
    if (tokens._usable()) return;
    if (!isExpired) {
      tokens._want(true); // the life ended while this was asked: another question
      return;
    }
    const waiting = this._waitingForToken;
    this._waitingForToken = false;
    const session = this._session;
    const transient = error instanceof errors.ServiceError && error.retryable;
    if (transient && waiting) this._attemptFailed(now, error, error.retryAfter);
    else if (transient && tokens._inLeeway()) tokens._want(true);
    else if (this._opening && waiting) this._openFailed(now, error);
    else if (session && this._mayTryAgain(now, session, error)) {
      // The callback needs the network that we have not got either.
      if (waiting) this._dialer._again(now);
      else tokens._want(true);
    } else if (session) {
      // The session is not coming back: nobody should see its ghost for the rest of the grace.
      const reason = 'token_expired';
      this._leave(now, [], error, new errors.SessionEndedError(undefined, { endReason: reason }));
      this._ended(now, reason, error.message, { error, session });
    }
  }

  /** Whether a failed refresh may be the network's fault: the connection is away, or does not answer just now. */
  _mayTryAgain(now, session, error) {
    if (error instanceof errors.TokenInvalidError) return false;
    const live = this._liveLink();
    return live ? live._pongUntil !== undefined : now < session._lostAt + session._grace;
  }

  // -- the shell

  /** The network is back, or may be: dial now, look whether the connection lives. */
  online(now) {
    this._offline = false;
    this.wake(now);
  }

  /** There is no network: dialling is no use until `online`. A connection that lives is left alone. */
  offline(now) {
    this._wakeUp(now);
    this._offline = true;
    this._settle(now);
  }

  /** The machine slept. */
  wake(now) {
    this._seen = [now, this._tools._wall()];
    this._woken(now);
    this._settle(now);
  }

  _woken(now) {
    const live = this._liveLink();
    if (live && !live._pongUntil) live._pingDue = now;
    if (this._dialer._due !== undefined && this._retryFloor <= now) this._dialer._soon(now);
    this._farewells._hurry(now);
  }

  _wakeUp(now) {
    const wall = this._tools._wall();
    const before = this._seen;
    this._seen = [now, wall];
    if (before && wall - before[1] - (now - before[0]) > WAKE_GAP) this._woken(now);
  }

  /** Time has passed: do what is due. */
  tick(now) {
    this._wakeUp(now);
    this._settle(now);
  }

  /** When `tick` is next due; undefined: never, unless something comes in. */
  _deadline() {
    return earliest([
      this._seen && this._tokens._due(...this._seen, !!this._liveLink()),
      this._requests._due(),
      this._farewells._due(),
      this._dialDue(),
      // Only what is live has times of pings.
      ...this._all().flatMap((link) => [link._limit, link._pongUntil ?? link._pingDue]),
      ...(this._opening?._waiters.values() ?? []),
    ]);
  }

  // -- what is due

  _settle(now) {
    this._runWaiters(now);
    this._emit(...this._requests._run(now));
    this._runLinks(now);
    this._runTokens(now);
    this._runDial(now);
    this._emit(...this._farewells._run(now, () => this._nextAttempt()));
    this._runHeartbeat(now);
    this._flush();
  }

  _runWaiters(now) {
    const opening = this._opening;
    if (!opening) return;
    const last = opening._lastError;
    for (const [waiter, until] of [...opening._waiters])
      if (until <= now) {
        opening._waiters.delete(waiter);
        const why = last && `No session was opened in time. The last attempt: ${last.text}`;
        const error = new errors.OpenTimeoutError(why, { cause: last });
        this._emit({ type: 'reject', _waiter: waiter, error });
      }
    this._giveUpIfAlone(now);
  }

  _giveUpIfAlone(now) {
    const opening = this._opening;
    if (opening && !opening._waiters.size && !opening._isReopen) {
      this._leave(now, [], new errors.OpenCancelledError(), closed());
      this._apply('failed');
    }
  }

  _runTokens(now) {
    const [effects, error, isExpired] = this._tokens._run(now, !!this._liveLink());
    this._emit(...effects);
    if (error) this._refreshFailed(now, error, isExpired);
  }

  _runDial(now) {
    const due = this._dialDue();
    if (due === undefined || due > now) return;
    this._dialer._due = undefined;
    if (!this._tokens._usable()) {
      if (this._tokens._refreshable) {
        this._tokens._want(true);
        this._waitingForToken = true;
        this._runTokens(now);
        return;
      }
      if (this._opening) {
        this._openFailed(now, new errors.TokenExpiredError());
        return;
      }
    }
    this._dial(now);
  }

  /** Forget the session or the open under way, and say goodbye to the service. */
  _leave(now, waiters, openingError, error) {
    const opening = this._opening;
    const session = this._session ?? opening?._saved;
    const live = this._liveLink();
    const candidate = this._candidate();
    for (const waiter of opening?._waiters.keys() ?? []) this._emit({ type: 'reject', _waiter: waiter, error: openingError });
    this._forget(error);
    if (session && !opening?._isReopen) {
      if (candidate) this._emit({ type: 'hangup', attempt: candidate.attempt, code: CLOSE_COME_BACK });
      const rest = session._lostAt === undefined ? session._grace : session._lostAt + session._grace - now;
      this._emit(...this._farewells._start(now, session.id, session._secrets(), rest, live, waiters));
    } else if (candidate?._phase === HELLO) {
      const { _closeLimit } = this._settings;
      this._emit(...this._farewells._start(now, undefined, [], _closeLimit, candidate, waiters));
    } else {
      if (candidate) this._emit({ type: 'hangup', attempt: candidate.attempt, code: CLOSE_NORMAL });
      for (const waiter of waiters) this._emit({ type: 'resolve', _waiter: waiter });
    }
  }
}
