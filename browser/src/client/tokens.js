/**
 * Holds the client access token, and decides when the app's refresh callback is called (S5): at 1/2 and 3/4 of its life
 * refresh(false); at its end, or when the service says that it is no longer valid, refresh(true). One call at a time,
 * never two within 5 s, and each may take 10 s.
 */
import { errors } from '../errors.js';
import { TOKEN_LEEWAY } from '../tables.js';

const MAX_TOKEN_BYTES = 8192;

const refuse = (text, hint = '') => {
  throw new errors.TokenInvalidError(text, { hint });
};

/** Base64url of UTF-8. (React Native has no TextDecoder everywhere.) */
const decode = (segment) => decodeURIComponent(escape(atob(segment.replace(/-/g, '+').replace(/_/g, '/'))));

/** What a token says of itself, unverified: for timers and early, clear errors. Never for trust. Throws. */
export const peek = (token) => {
  let claims;
  try {
    if (token.length <= MAX_TOKEN_BYTES) claims = JSON.parse(decode(/^[^.]+\.([^.]+)\.[^.]+$/.exec(token)[1]));
  } catch {
    // refused below
  }
  if (!claims) refuse('This is not a token of Greenroom.', 'Pass the access_token alone, unchanged.');
  const claim = (name, isRight) =>
    isRight(claims[name]) ? claims[name] : refuse(`The token's claim ${name} is missing or not of its type.`);
  const isText = (value) => typeof value === 'string';
  // An application's own issuer made it: enough to see that a token is for someone else.
  const [app, externalId] = claims.app === undefined ? ['iss', 'sub'] : ['app', 'xid'];
  claim('sub', (value) => isText(value) || app === 'iss');
  return {
    app: claim(app, isText),
    externalId: claim(externalId, (value) => value === undefined || isText(value)),
    _issuedAt: claim('iat', Number.isInteger),
    _expiresAt: claim('exp', Number.isInteger),
  };
};

/** Token, schedule and the one refresh in flight. */
export class TokenManager {
  constructor(settings, tools, clock) {
    this._clock = clock;
    this._tools = tools;
    this._settings = settings;
    this._refreshable = false;
    this._expires = 0; // service time
    this._wasRefused = false;
    this._schedule = []; // [service time, isExpired], ascending
    this._number = 0;
    // Later: _text, _claims; _accepted, the token that the service accepted last (a resume carries a token
    // only if it is another one); _wanted, the isExpired of a refresh that is needed; _inFlight, _requestedAt, the one
    // in flight.
  }

  _initialized() {
    return this._text !== undefined || this._refreshable;
  }

  /** Whether there is a token that has not expired, as far as is known. */
  _isUsable() {
    return this._text !== undefined && !this._wasRefused && this._clock._time < this._expires;
  }

  /** Whether a dial may carry the token. Without a refresh callback the service judges: the clock may be wrong. */
  _mayBeTried() {
    return this._isUsable() || (this._text !== undefined && !this._wasRefused && !this._refreshable);
  }

  /** Whether the service still accepts a new token in place of this one: for 30 s after its end (S5). */
  _inLeeway() {
    return this._clock._time < this._expires + TOKEN_LEEWAY;
  }

  /** The token and its claims. Throws errors.TokenRefreshError or errors.TokenInvalidError, which name the claim. */
  _check(answer, fromCallback) {
    if (typeof answer !== 'string') {
      if (!fromCallback)
        refuse(
          answer?.then
            ? 'The token is a Promise: await it first.'
            : `The token is of type ${typeof answer}, not a string: pass the access_token alone.`,
        );
      throw new errors.TokenRefreshError(
        answer == null
          ? 'The refresh callback returned nothing. Is its return statement missing?'
          : `The refresh callback returned ${typeof answer}, not a string.`,
      );
    }
    const text = answer.trim();
    if (/^["']/.test(text)) refuse(`The token begins with ${text[0]}: pass it without quotes.`);
    if (/^bearer /i.test(text)) refuse('The token begins with Bearer: pass the part after it.');
    if (/^[{[]/.test(text)) refuse('The token is JSON: pass its access_token alone.');
    const claims = this._tools._peek(text);
    for (const [claim, name] of [
      ['app', 'app (or iss)'],
      ['externalId', 'xid (the external id; or sub)'],
    ])
      if (this._claims && this._claims[claim] !== claims[claim])
        refuse(`The new token's claim ${name} differs from the old one's.`);
    return [text, claims];
  }

  /** Use this token from now on, and schedule its refreshes. fromCallback: it was just made. */
  _adopt(text, claims, fromCallback) {
    this._text = text;
    this._claims = claims;
    this._wanted = undefined;
    this._wasRefused = false;
    this._makeSchedule(fromCallback);
  }

  /** The service accepted the token, and may have sent its time: schedule the refreshes again. */
  _clockLearned() {
    if (this._claims && !this._wasRefused) this._makeSchedule(true);
  }

  _makeSchedule(justIssued) {
    const now = this._clock._time;
    const { _issuedAt: issuedAt, _expiresAt: expiresAt } = this._claims;
    const life = Math.max(0, expiresAt - issuedAt);
    // A token that is valid and looks expired, or not yet issued, means that the device's clock is wrong: also one that
    // was known, and was set since.
    const looksWrong = justIssued && !(issuedAt <= now && now < expiresAt);
    const start = looksWrong ? now : issuedAt;
    this._expires = start + life;
    this._schedule = [
      [start + life / 2, false],
      [start + (life * 3) / 4, false],
      [this._expires, true],
    ].filter(([when, isExpired]) => when > now || isExpired);
  }

  /** A refresh is needed. It joins the one in flight, if there is one. */
  _requestRefresh(isExpired) {
    if (this._refreshable && !this._inFlight) this._wanted = this._wanted || isExpired;
  }

  /** The service said that the token ends soon. Ignored unless this clock is so far behind that no refresh has happened. */
  _expiryNotice() {
    if (this._schedule.length > 2) this._requestRefresh(false);
  }

  /** The service said that the token is no longer valid. */
  _expire() {
    this._wasRefused = true;
    this._schedule = [];
    this._requestRefresh(true);
  }

  /**
   * When `run` has something to do. live: a connection carries the session, so that the schedule counts.
   */
  _due(now, live) {
    if (this._inFlight) return this._requestedAt + this._settings._refreshTimeout;
    if (this._wanted !== undefined)
      return this._requestedAt === undefined ? now : Math.max(now, this._requestedAt + this._settings._refreshGap);
    if (live && this._schedule.length && this._refreshable)
      return now + Math.max(0, this._schedule[0][0] - this._clock._time);
    return undefined;
  }

  /** [effects, error, isExpired]: the error where the refresh in flight took too long. */
  _run(now, live) {
    if (this._inFlight) {
      const { number, isExpired } = this._inFlight;
      const { _refreshTimeout } = this._settings;
      if (now < this._requestedAt + _refreshTimeout) return [[]];
      this._inFlight = undefined;
      const error = new errors.TokenRefreshError(`The refresh callback took more than ${_refreshTimeout} s.`);
      return [[{ type: 'cancelTokenRequest', number }], error, isExpired];
    }
    while (live && this._refreshable && this._schedule.length && this._schedule[0][0] <= this._clock._time)
      this._requestRefresh(this._schedule.shift()[1]);
    const due = this._due(now, live);
    if (this._wanted === undefined || due > now) return [[]];
    this._inFlight = { type: 'requestToken', number: ++this._number, isExpired: this._wanted };
    this._wanted = undefined;
    this._requestedAt = now;
    return [[this._inFlight]];
  }

  /** Take the callback's answer: [error or undefined, isExpired]; undefined for a late one. */
  _answer(number, answer) {
    const asking = this._inFlight;
    if (asking?.number !== number) return undefined;
    this._inFlight = undefined;
    const { isExpired } = asking;
    if (answer instanceof errors.GreenroomError) return [answer, isExpired];
    if (answer instanceof Error)
      return [
        new errors.TokenRefreshError(`The refresh callback threw ${answer.name}: ${answer.message}`, {
          hint: 'Correct the refresh callback.',
          cause: answer,
        }),
        isExpired,
      ];
    let checked;
    try {
      checked = this._check(answer, true);
    } catch (error) {
      return [error, isExpired];
    }
    if (checked[0] !== this._text) this._adopt(...checked, true);
    else if (isExpired && (this._wasRefused || (this._clock._isKnown && !this._isUsable())))
      return [new errors.TokenRefreshError('The refresh callback returned the token that has expired.'), true];
    if (isExpired && !this._isUsable()) this._makeSchedule(true); // the device's clock is wrong: the service decides
    return [undefined, isExpired];
  }

  /** The session is over: no refresh is needed. The token is kept. */
  _cancel() {
    const asking = this._inFlight;
    this._inFlight = this._wanted = undefined;
    return asking ? [{ type: 'cancelTokenRequest', number: asking.number }] : [];
  }
}
