/** An open under way, and the session that it makes. */

/** The status of a session that has said nothing else. */
export const AVAILABLE = 'available';

/** What info says, with the members that it has and no others; attributes by name. */
export const cleanInfo = (info) => {
  const { name, avatarUrl, externalId, attributes } = info ?? {};
  const entries = Object.entries(attributes ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return {
    name: name ?? undefined,
    avatarUrl: avatarUrl ?? undefined,
    externalId: externalId ?? undefined,
    attributes: entries.length ? Object.fromEntries(entries) : undefined,
  };
};

const FIELDS = ['name', 'avatarUrl', 'externalId'];

/** Whether two infos say the same. */
export const sameInfo = (one, other) =>
  FIELDS.every((field) => one[field] === other[field]) && JSON.stringify(one.attributes) === JSON.stringify(other.attributes);

/** Whether info says nothing. */
export const isEmpty = (info) => sameInfo(info, {});

/**
 * One open, shared by its waiters (waiter: until when, undefined for no limit), or a reopen: without waiters and without
 * a limit. openId and secret stay the same over all retries, so that a lost reply gives the same session (S1, S2).
 * saved: the session of the page before this one (S20), which is tried first.
 */
export class Opening {
  constructor(info, device, reopenReason) {
    this._info = info;
    this._device = device;
    this._reopenReason = reopenReason;
    this._isReopen = reopenReason !== undefined;
    this._waiters = new Map();
    // Later: _openId, _secret, _previousId; _status of the session that a reopen replaces; _refreshed, the service refused one token as expired (a second one is the
    // callback's fault), _hasNewIds, _lastError, _saved.
  }

  _params(token, sdk) {
    return {
      token,
      openId: this._openId,
      resumeSecret: this._secret,
      participant: {
        ...this._info,
        externalId: this._info.externalId || undefined,
        ifNew: this._isReopen || undefined,
      },
      device: this._device,
      sdk,
      status: this._status,
    };
  }
}

/** An open session. _secret: the current one; _nextSecret: the one that a resume under way brings (S1). */
export class Session {
  constructor(id, secret, info, device) {
    this.id = id;
    this._secret = secret;
    this._info = info;
    this._device = device;
    this._attempt = 0;
    // Later: _participant, _since, _reopened, _grace, _scopes, _capabilities, _status; and _nextSecret, _lostAt.
  }

  /**
   * Parameters of the next attempt: +1, with the same next secret until one is answered. rosters: this page does not know
   * in which rooms the session is.
   */
  _resume(nextSecret, token, watching, watchingRooms, rosters) {
    this._nextSecret ??= nextSecret;
    return {
      sessionId: this.id,
      resumeSecret: this._secret,
      nextSecret: this._nextSecret,
      attempt: ++this._attempt,
      token,
      watching,
      watchingRooms,
      rosters: rosters || undefined,
    };
  }

  _resumed({ session, scopes, capabilities }) {
    this._secret = this._nextSecret ?? this._secret;
    this._nextSecret = this._lostAt = undefined;
    this._grace = session.grace;
    this._scopes = scopes;
    this._capabilities = capabilities;
    this._status = session.status ?? AVAILABLE;
  }

  /** The service knows one of these. */
  _secrets() {
    return this._nextSecret === undefined ? [this._secret] : [this._secret, this._nextSecret];
  }

  /** Info for a reopen: the record as last seen; the external id only where the app gave it. */
  _lastInfo() {
    return { ...this._participant.info, externalId: this._info.externalId };
  }

  /** Whether `open` with this info means the session that is open. */
  _isSame(info) {
    if (isEmpty(info) || sameInfo(info, this._info)) return true;
    const have = this._participant.info;
    return (
      FIELDS.every((field) => info[field] === undefined || (info[field] || undefined) === have[field]) &&
      Object.entries(info.attributes ?? {}).every(([name, value]) => (value ?? undefined) === have.attributes?.[name])
    );
  }
}
