/** Replies to the requests of an open session, and what they say about participants. */
import { errors, fromWire } from '../errors.js';
import { isSame, toParticipant } from '../model.js';
import { HELD_CODES, TOKEN_EXPIRED } from '../tables.js';

/** Resolves and rejects the callers, and keeps records and token up to date. */
export class Replies {
  constructor(settings, output, tokens, requests, watches) {
    this._settings = settings;
    this._output = output;
    this._tokens = tokens;
    this._requests = requests;
    this._watches = watches;
  }

  /** The service's reply to this request. */
  _received(session, request, { result, error }) {
    const { method, waiter } = request;
    if (error) {
      this._refused(request, fromWire(error));
      return;
    }
    let value;
    try {
      if (method === 'session.updateParticipantInfo' || method === 'session.getParticipant') {
        value = toParticipant(result.participant);
        this._ownRecord(session, result.participant);
      } else if (method === 'participants.get' || method === 'participants.watch') {
        value = result.participants.map(toParticipant);
        if (method === 'participants.watch')
          this._changed(this._watches._snapshot(result.participants, waiter === undefined));
      } else if (method === 'session.refreshToken') {
        const { scopes } = result;
        if (!Array.isArray(scopes)) throw new TypeError();
        this._tokens._accepted = request.params.token;
        if (session) session._scopes = scopes;
        this._requests._resendHeld();
      }
    } catch {
      this._output._reject(waiter, new errors.ProtocolError(`The reply to ${method} cannot be read.`));
      return;
    }
    this._output._resolve(waiter, value);
  }

  _refused(request, error) {
    const { method, waiter } = request;
    if (method === 'session.refreshToken') this._tokenRefused(request, error);
    else if (HELD_CODES.includes(error.code)) {
      this._requests._hold(request, error);
      if (error.code === TOKEN_EXPIRED) this._tokens._expire();
    } else if (waiter !== undefined) {
      if (error.participant)
        try {
          error.participant = toParticipant(error.participant);
        } catch {
          error.participant = undefined;
        }
      this._output._reject(waiter, error);
    } else if (error.retryable) this._requests._hold(request, error); // the machine's own: sent again after the next resume
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
    this._requests._add('session.refreshToken', { token });
  }

  /** Watch those that session.resume had no room for. The replies are snapshots of those that differ. */
  _watchAgain(known) {
    const count = this._settings._watchesPerMessage;
    this._requests._dropOwn('participants.watch');
    for (let start = 0; start < known.length; start += count)
      this._requests._add('participants.watch', { known: known.slice(start, start + count) });
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
