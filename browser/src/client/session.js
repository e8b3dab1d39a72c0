/**
 * ClientSession: what an SDK must do next. A machine without I/O, clock or randomness; the Python SDK's, part by part
 * (`src/greenroom/core/client`).
 *
 * Inputs take `now` (seconds, of a clock that never goes back) and never throw, in any order. Effects come out of
 * `effects` in order; `deadline` says when `tick` is next due. Each dial has an attempt number that is never used
 * again, so that a late input finds nothing. The shell carries out effects and owns one timer; it decides nothing.
 *
 * One input more than in Python: `restore`, for the page that comes after a reload (S20).
 */
import { errors } from '../errors.js';
import { SETTINGS, WAKE_GAP } from '../tables.js';
import { earliest, LIVE } from './attempts.js';
import { Inbound } from './inbound.js';
import { closed, Lifecycle } from './lifecycle.js';
import { cleanInfo, isEmpty, sameInfo, Session } from './opening.js';
import { olderServiceError } from './retry_policy.js';
import { ROOMS } from './rooms.js';
import { splitIds } from './watches.js';

/** The session of one SDK object: at most one at a time. */
export class ClientSession {
  constructor(tools, settings) {
    this._tools = tools;
    this._settings = { ...SETTINGS, ...settings };
    this._lifecycle = new Lifecycle(tools, this._settings);
    this._inbound = new Inbound(this._settings, this._lifecycle);
    const { _output, _tokens, _requests, _attempts, _closes, _rooms } = this._lifecycle;
    this._output = _output;
    this._tokens = _tokens;
    this._requests = _requests;
    this._attempts = _attempts;
    this._closes = _closes;
    this._rooms = _rooms;
    // Later: _offline, _lastInput, _restored.
  }

  // -- what the shell may read

  get state() {
    return this._output.state;
  }

  /** The session's own participant, as last known; undefined without a session. */
  get participant() {
    return this._lifecycle._session?._participant;
  }

  /** The session's status, as last acknowledged; undefined without a session. */
  get _status() {
    return this._lifecycle._session?._status;
  }

  /** The session scopes of the token, as the service said. */
  get scopes() {
    return this._lifecycle._session?._scopes ?? [];
  }

  /** The external id in the token, if there is a token and it has one. */
  get _tokenExternalId() {
    return this._tokens._claims?.externalId;
  }

  /** The latest record of a watched participant; undefined where it is not watched. */
  _watchedParticipant(id) {
    return this._lifecycle._watches._held.get(id);
  }

  /** True from a successful open until close or a final end, also while reconnecting. */
  isOpen() {
    return !!this._lifecycle._session;
  }

  /** Why there is no session: it says how the last one ended, until the next `open`. */
  _notOpenError() {
    const end = this._lifecycle._lastEnd;
    const text = end && `No session is open: the last one has ended (${end.reason}). ${end.message}`.trim();
    return new errors.SessionNotOpenError(text, { cause: end?.error });
  }

  /** What the shell must do, in order, since the last call. */
  _effects() {
    return this._output._take();
  }

  // -- inputs of the app

  /** A token, or undefined: the first is requested later. Returns the error where it is refused. */
  _setToken(now, token, refreshable) {
    this._noteTime(now);
    const tokens = this._tokens;
    const isIdle = this.state === 'disconnected';
    if (token === undefined) {
      if (!isIdle)
        return new errors.SessionAlreadyOpenError('Key and secret cannot be changed while a session is open.', {
          hint: 'Close it first.',
        });
      tokens._text = tokens._claims = undefined;
      tokens._refreshable = refreshable;
      return undefined;
    }
    if (isIdle) tokens._claims = undefined; // the token may be for another participant: the app initialises again
    let checked;
    try {
      checked = tokens._check(token);
    } catch (error) {
      return error;
    }
    tokens._refreshable = refreshable;
    tokens._adopt(...checked, false);
    this._lifecycle._tokenChanged(now);
    this._run(now);
    return undefined;
  }

  /** Resolve the waiter with the participant, or reject it. timeout: seconds, null for no limit. */
  open(now, waiter, info, device = {}, timeout = 10) {
    this._noteTime(now);
    const wanted = cleanInfo(info);
    const lifecycle = this._lifecycle;
    const error = this._openError(wanted);
    if (error) this._output._reject(waiter, error);
    else if (lifecycle._session) this._output._resolve(waiter, lifecycle._session._participant);
    else {
      const opening =
        lifecycle._opening ?? lifecycle._startOpening(now, wanted, device, this._takeRestored(wanted, device));
      opening._waiters.set(waiter, timeout === null ? undefined : now + timeout);
    }
    this._run(now);
  }

  _openError(info) {
    if (!this._tokens._initialized()) return new errors.NotInitializedError();
    const { _opening: opening, _session: session } = this._lifecycle;
    if (session) return session._isSame(info) ? undefined : new errors.SessionAlreadyOpenError();
    if (opening && !isEmpty(info) && !sameInfo(info, opening._info))
      return new errors.SessionAlreadyOpenError('A session is being opened with other info.');
    const inToken = this._tokenExternalId;
    if (info.externalId && inToken !== undefined && info.externalId !== inToken) return new errors.ExternalIdMismatchError();
    return undefined;
  }

  /** The caller of `open` was cancelled. The open continues while others wait for it. */
  _cancelOpen(now, waiter) {
    this._noteTime(now);
    if (this._lifecycle._opening?._waiters.delete(waiter)) this._lifecycle._giveUpIfAlone(now);
    this._run(now);
  }

  /** End the session. The waiter is resolved when the service has confirmed, or after 2 s; it is never rejected. */
  close(now, waiter) {
    this._noteTime(now);
    if (!this._lifecycle._opening && !this._lifecycle._session) {
      if (!this._closes._join(now, waiter)) this._output._resolve(waiter);
    } else {
      this._lifecycle._leave(now, [waiter], new errors.OpenCancelledError(), closed());
      this._output._apply('close');
    }
    this._run(now);
  }

  /** The app exits: everything ends at once, nothing is tried in the background. */
  abandon(now) {
    this.close(now, -1);
    this._output._emit(...this._closes._abandon());
    this._run(now);
  }

  /** Any request of an open session; while reconnecting it waits, `timeout` seconds at most (10). */
  request(now, waiter, method, params = {}, timeout = this._settings._requestTimeout) {
    this._noteTime(now);
    const error = this.isOpen()
      ? this._requests._add(now, method, params, waiter, timeout)
      : this._notOpenError();
    if (error) this._output._reject(waiter, error);
    this._run(now);
  }

  /** Change the own participant: undefined leaves as it is, "" clears. Resolves with the participant. */
  update(now, waiter, name, avatarUrl, ifRevision, attributes) {
    const updateId = this._tools._randomHex(16);
    if (!attributes || this._can(now, waiter, 'attributes'))
      this.request(now, waiter, 'session.updateParticipantInfo', { updateId, name, avatarUrl, ifRevision, attributes });
  }

  /** Change the session's status. Resolves with the participant. */
  _setStatus(now, waiter, status) {
    if (this._can(now, waiter, 'status')) this.request(now, waiter, 'session.setStatus', { status });
  }

  /** Whether the service of the open session has it; true without a session. */
  _has(capability) {
    return this._lifecycle._session?._capabilities.includes(capability) ?? true;
  }

  /** Whether the session's service has it; where not, the waiter is rejected. It would ignore what it does not know. */
  _can(now, waiter, capability) {
    if (this._has(capability)) return true;
    this._noteTime(now);
    this._output._reject(waiter, olderServiceError(capability));
    this._run(now);
    return false;
  }

  /** The messages that so many ids need: each is a `request` of its own. */
  _participantRequests(ids, externalIds) {
    return splitIds(ids, externalIds, this._requests._maxIds);
  }

  /** Stop watching. Changes of these are not reported from now on. */
  unwatch(now, waiter, params) {
    this._lifecycle._watches._drop(params.ids ?? [], params.externalIds ?? []);
    this.request(now, waiter, 'participants.unwatch', params);
  }

  /** Resolves with the LocalRoom, at once where it is joined. A caller that waits too long leaves, unless others wait, too. */
  _joinRoom(now, waiter, name) {
    if (this._can(now, waiter, ROOMS)) this._aboutRooms(now, waiter, (timeout) => this._rooms._join(now, waiter, name, timeout));
  }

  /** Over at once. Resolves when the service has it, which is tried for as long as the session lives. */
  _leaveRoom(now, waiter, name) {
    this._aboutRooms(now, waiter, (timeout) => this._rooms._leave(now, waiter, name, timeout));
  }

  /** Resolves with the LocalRoom. */
  _watchRoom(now, waiter, name) {
    if (this._can(now, waiter, ROOMS)) this._aboutRooms(now, waiter, (timeout) => this._rooms._watch(now, waiter, name, timeout));
  }

  /** Changes are not reported from now on, but of a room that is joined. */
  _unwatchRoom(now, waiter, name) {
    this._aboutRooms(now, waiter, (timeout) => this._rooms._unwatch(now, waiter, name, timeout));
  }

  /** message: anything JSON. Resolves when it is published; repeated until then, with the same id. */
  _sendToRoom(now, waiter, room, message, to) {
    const params = { room, messageId: this._tools._randomHex(16), message, to };
    this._aboutRooms(now, waiter, (timeout) => this._rooms._send(now, waiter, params, timeout));
  }

  _aboutRooms(now, waiter, work) {
    this._noteTime(now);
    if (this.isOpen()) work(this._settings._requestTimeout);
    else this._output._reject(waiter, this._notOpenError());
    this._run(now);
  }

  /** The caller of a request was cancelled. A join for which nobody waits any more leaves. */
  _cancelRequest(now, waiter) {
    this._noteTime(now);
    this._requests._cancel(waiter);
    this._run(now);
  }

  /** It waits no longer, whatever the service answers. */
  _answerInvitation(now, waiter, invitationId, accept) {
    this._rooms._invitations.delete(invitationId);
    this._roomRequest(now, waiter, 'rooms.answer', { invitationId, accept });
  }

  /** Any other request about rooms. */
  _roomRequest(now, waiter, method, params) {
    if (this._can(now, waiter, ROOMS)) this.request(now, waiter, method, params);
  }

  /** Those in which the session is, also by a page before this one. */
  _joinedRooms() {
    return this._rooms._ofSession();
  }

  /** Invitations that wait for an answer, as far as the service has said. */
  _invitations(now) {
    this._lifecycle._clock._note(now, this._tools._wall());
    const time = this._lifecycle._clock._time * 1000;
    return [...this._rooms._invitations.values()].filter(({ expiresAt }) => expiresAt > time);
  }

  /** What the app's refresh callback returned, or the error that it threw. */
  token(now, number, answer) {
    this._noteTime(now);
    const before = this._tokens._text;
    const outcome = this._tokens._answer(number, answer);
    if (outcome) {
      const [error, isExpired] = outcome;
      if (error) this._lifecycle._refreshFailed(now, error, isExpired);
      else if (before !== this._tokens._text || this._lifecycle._waitingForToken) this._lifecycle._tokenChanged(now);
    }
    this._run(now);
  }

  // -- inputs of the page: it goes, and another one comes after it (S20)

  /** What the next page needs to resume this session, as JSON takes it; undefined where there is none. */
  _snapshot() {
    const session = this._lifecycle._session ?? this._lifecycle._opening?._saved;
    if (!session) return this._restored;
    const { app, externalId } = this._tokens._claims ?? {};
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
    const claims = this._tokens._claims;
    const isOther = claims && (claims.app !== saved?.app || claims.externalId !== saved?.externalId);
    if (!saved || isOther || !sameInfo(saved.info, info)) return undefined;
    const session = new Session(saved.id, saved.secrets[0], info, device);
    session._nextSecret = saved.secrets[1];
    session._attempt = saved.attempt;
    session._grace = saved.grace;
    return session;
  }

  // -- inputs of connections

  /** The connection of this attempt is established. */
  _dialed(now, attempt) {
    this._noteTime(now);
    this._inbound._dialed(attempt);
    this._run(now);
  }

  /** There is no connection. An error that is not retryable ends an open, never an open session. */
  _dialFailed(now, attempt, error, retryAfter) {
    this._noteTime(now);
    this._inbound._dialFailed(now, attempt, error, retryAfter);
    this._run(now);
  }

  /** The connection is gone. code: of the Close frame, 1006 where none came. */
  lost(now, attempt, code, reason = '') {
    this._noteTime(now);
    this._inbound._lost(now, attempt, code, reason);
    this._run(now);
  }

  /** A text message arrived. */
  message(now, attempt, data) {
    this._noteTime(now);
    this._inbound._message(now, attempt, data);
    this._run(now);
  }

  // -- hints of the device

  /** The network is back, or may be: dial now, and check the connection. */
  online(now) {
    this._offline = false;
    this.wake(now);
  }

  /** There is no network: dialling is no use until `online`. A live connection is left alone. */
  offline(now) {
    this._noteTime(now);
    this._offline = true;
    this._run(now);
  }

  /** The device slept. */
  wake(now) {
    this._lastInput = [now, this._tools._wall()];
    this._lifecycle._clock._note(...this._lastInput);
    this._woken(now);
    this._run(now);
  }

  _woken(now) {
    const live = this._attempts._live();
    const redial = this._attempts._redial;
    if (live && live._pongDeadline === undefined) live._pingDue = now;
    if (redial._due !== undefined && this._lifecycle._retryFloor <= now) redial._atOnce(now);
    this._closes._networkBack(now);
  }

  /** Every input begins here: if the wall clock ran ahead, the device slept. */
  _noteTime(now) {
    const wall = this._tools._wall();
    const before = this._lastInput;
    this._lastInput = [now, wall];
    this._lifecycle._clock._note(now, wall);
    if (before && wall - before[1] - (now - before[0]) > WAKE_GAP) this._woken(now);
  }

  // -- timers

  /** Time has passed: do what is due. */
  tick(now) {
    this._noteTime(now);
    this._run(now);
  }

  /** When `tick` is next due; undefined: never, unless there is another input. */
  _deadline() {
    return earliest([
      this._lastInput && this._tokens._due(this._lastInput[0], !!this._attempts._live()),
      this._requests._due(),
      this._closes._due(),
      this._dialDue(),
      ...this._attempts
        ._all()
        .flatMap((one) => [one._deadline, one._phase === LIVE ? (one._pongDeadline ?? one._pingDue) : undefined]),
      ...(this._lifecycle._opening?._waiters.values() ?? []),
    ]);
  }

  _dialDue() {
    const { _waitingForToken, _opening, _session } = this._lifecycle;
    if (this._offline || _waitingForToken || this._attempts._candidate()) return undefined;
    return _opening || _session ? this._attempts._redial._due : undefined;
  }

  /** Every input ends here: do all that is due. */
  _run(now) {
    this._runOpenTimeouts(now);
    this._output._emit(...this._requests._run(now));
    this._inbound._runTimeouts(now);
    this._runTokens(now);
    this._runDial(now);
    this._output._emit(...this._closes._run(now));
    this._inbound._runHeartbeat(now);
    this._output._emit(...this._requests._flush(now, this._attempts._live()?._number));
  }

  _runOpenTimeouts(now) {
    const opening = this._lifecycle._opening;
    if (!opening) return;
    const last = opening._lastError;
    for (const [waiter, until] of [...opening._waiters])
      if (until <= now) {
        opening._waiters.delete(waiter);
        const why = last && `No session was opened in time. The last attempt: ${last.text}`;
        this._output._reject(waiter, new errors.OpenTimeoutError(why, { cause: last }));
      }
    this._lifecycle._giveUpIfAlone(now);
  }

  _runTokens(now) {
    const [effects, error, isExpired] = this._tokens._run(now, !!this._attempts._live());
    this._output._emit(...effects);
    if (error) this._lifecycle._refreshFailed(now, error, isExpired);
  }

  _runDial(now) {
    const due = this._dialDue();
    if (due === undefined || due > now) return;
    const lifecycle = this._lifecycle;
    this._attempts._redial._due = undefined;
    if (this._tokens._mayBeTried()) this._attempts._dial(now);
    else if (this._tokens._refreshable) {
      this._tokens._requestRefresh(true);
      lifecycle._waitingForToken = true;
      this._runTokens(now);
    } else if (lifecycle._opening) lifecycle._openFailed(now, new errors.TokenExpiredError());
    else this._attempts._dial(now);
  }
}
