/** Replies to the requests of an open session, and what they say about participants. */
import { boundedRetry } from '../backoff.js';
import { errors, fromWire } from '../errors.js';
import { isSame, toParticipant } from '../model.js';
import { HELD_CODES, MERGED_METHODS, TOKEN_EXPIRED } from '../tables.js';
import { LEAVE, rejections } from './requests.js';

/** Resolves and rejects the callers, and keeps records and token up to date. */
export class Replies {
  constructor(output, tokens, requests, watches, rooms) {
    this._output = output;
    this._tokens = tokens;
    this._requests = requests;
    this._watches = watches;
    this._rooms = rooms;
  }

  /** The service's reply to this request. True: the node no longer has the session. */
  _received(now, session, request, { result, error }) {
    const { method } = request;
    if (error) return this._refused(now, request, fromWire(error));
    let value;
    try {
      if (['session.updateParticipantInfo', 'session.getParticipant', 'session.setStatus'].includes(method)) {
        value = toParticipant(result.participant);
        if (session && request.params.status) session._status = request.params.status;
        this._ownRecord(session, result.participant);
      } else if (method === 'participants.get' || method === 'participants.watch') {
        const found = result.participants.map(toParticipant);
        if (method === 'participants.watch')
          this._changed(this._watches._snapshot(result.participants, !request._callers.length));
        this._resolveLookups(request, found);
        return false;
      } else if (method.startsWith('rooms.')) {
        value = this._rooms._answered(request, result);
      } else if (method === 'session.refreshToken') {
        const { scopes } = result;
        if (!Array.isArray(scopes)) throw new TypeError();
        this._tokens._accepted = request.params.token;
        if (session) session._scopes = scopes;
        this._requests._resendHeld();
      }
    } catch {
      this._reject(request, new errors.ProtocolError(`The reply to ${method} cannot be read.`));
      return false;
    }
    for (const { waiter } of request._callers) this._output._resolve(waiter, value);
    return false;
  }

  /** Give each caller of a merged request what it asked for. */
  _resolveLookups({ method, _callers }, found) {
    if (_callers.length === 1) this._output._resolve(_callers[0].waiter, found);
    else
      for (const caller of _callers) {
        const { ids = [], externalIds = [] } = caller.params;
        const own = [
          ...ids.map((id) => found.find((one) => one.id === id)),
          ...externalIds.map((id) => found.find((one) => one.info.externalId === id)),
        ];
        if (own.includes(undefined)) this._requests._split(method, [caller]);
        else this._output._resolve(caller.waiter, own);
      }
  }

  _reject(request, error) {
    this._output._emit(...rejections(request._callers, error));
  }

  _refused(now, request, error) {
    const { method, _callers } = request;
    if (error instanceof errors.SessionEndedError) {
      // This does not concern the request. Where the session has ended, the service says so to all; where it has moved
      // to another node, the next connection repeats the request.
      this._requests._hold(request, error);
      return true;
    }
    if (error instanceof errors.RateLimitedError)
      this._requests._repeat(request, error, now + (boundedRetry(error.retryAfter) || 1));
    else if (method === 'session.refreshToken') this._tokenRefused(request, error);
    else if (HELD_CODES.includes(error.code)) {
      this._requests._hold(request, error);
      if (error.code === TOKEN_EXPIRED) this._tokens._expire();
    } else if (_callers.length > 1 && !error.retryable && MERGED_METHODS.includes(method)) this._requests._split(method, _callers); // one caller's mistake
    else if (_callers.length) {
      if (error.participant)
        try {
          error.participant = toParticipant(error.participant);
        } catch {
          error.participant = undefined;
        }
      this._reject(request, error);
      if (method === LEAVE && error.retryable) {
        request._callers = [];
        this._rooms._refused(now, request, error);
      }
    } else if (method.startsWith('rooms.')) this._rooms._refused(now, request, error);
    else if (error.retryable) this._requests._hold(request, error); // the machine's own: sent again after the next resume
    return false;
  }

  _tokenRefused(request, error) {
    const hasExpired = error.code === TOKEN_EXPIRED;
    if (error.retryable && !hasExpired) {
      this._requests._hold(request, error);
      return;
    }
    this._output._notify({ type: 'tokenRefreshFailed', error, isExpired: !this._tokens._isUsable() });
    if (hasExpired) this._tokens._expire();
  }

  /** Renew the session's token on the live connection (promise 6). */
  _sendToken() {
    const token = this._tokens._text;
    if (token === undefined || token === this._tokens._accepted) return;
    this._requests._dropOwn('session.refreshToken');
    this._requests._add(0, 'session.refreshToken', { token });
  }

  /** Watch those that session.resume had no room for. The replies are snapshots of those that differ. */
  _watchAgain(known) {
    const count = this._requests._maxIds;
    this._requests._dropOwn('participants.watch');
    for (let start = 0; start < known.length; start += count)
      this._requests._add(0, 'participants.watch', { known: known.slice(start, start + count) });
  }

  /** A record that may be that of the session's own participant. */
  _ownRecord(session, wire, isSnapshot) {
    const own = session?._participant;
    if (wire.id !== own?.id) return;
    const participant = toParticipant(wire);
    if (!isSame(participant, own) && (isSnapshot || participant.version > own.version)) {
      session._participant = participant;
      this._output._notify({ type: 'participantUpdated', participant });
    }
    // The service sends each version once on a connection, in whatever message: one may watch oneself.
    this._changed(this._watches._update([wire]));
  }

  /** Report watched participants that have changed. */
  _changed(participants) {
    if (participants.length) this._output._notify({ type: 'participantsChanged', participants });
  }
}
