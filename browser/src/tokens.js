/**
 * The one place that holds the client access token, and when it is refreshed (S5): at 1/2 and 3/4 of its life
 * refresh(false); at its end, or when the service says that it is no longer good, refresh(true). One call in flight,
 * never two within 5 s, 10 s limit each.
 */
import { errors } from './errors.js';
import { TOKEN_LEEWAY } from './tables.js';

const MAX_TOKEN_BYTES = 4096;

const refuse = (text, hint) => {
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
  if (!claims) refuse('That is no token of Greenroom.', 'Pass the access_token alone, unchanged.');
  const claim = (name, isRight) =>
    isRight(claims[name]) ? claims[name] : refuse(`The token's claim ${name} is missing or not of its type.`);
  const isText = (value) => typeof value === 'string';
  claim('sub', isText);
  return {
    app: claim('app', isText),
    externalId: claim('xid', (value) => value === undefined || isText(value)),
    _issuedAt: claim('iat', Number.isInteger),
    _expiresAt: claim('exp', Number.isInteger),
  };
};

/** Token, schedule and the one refresh in flight. */
export class TokenKeeper {
  constructor(tools, settings) {
    this._tools = tools;
    this._settings = settings;
    this._refreshable = false;
    this._expires = 0; // wall
    this._marks = []; // [wall, isExpired], ascending
    this._number = 0;
    // Later: _text, _glance; _accepted, what the service has taken last (a resume carries another one
    // only); _wanted, the isExpired of a refresh that is needed; _asking, _askedAt, the one in flight.
  }

  _initialized() {
    return this._text !== undefined || this._refreshable;
  }

  /** Whether there is a token whose life is not over. */
  _usable() {
    return this._text !== undefined && this._tools._wall() < this._expires;
  }

  /** Whether the service still takes a new token for this one: it waits 30 s after its end (S5). */
  _inLeeway() {
    return this._tools._wall() < this._expires + TOKEN_LEEWAY;
  }

  /** A token to adopt: [text, glance]. Throws errors.TokenRefreshError or errors.TokenInvalidError, which name the claim. */
  _check(answer) {
    if (answer === undefined || answer === null)
      throw new errors.TokenRefreshError('The refresh callback returned nothing; did it forget its return?');
    if (typeof answer !== 'string')
      throw new errors.TokenRefreshError(`The refresh callback returned ${typeof answer}, not a string.`);
    const glance = this._tools._peek(answer);
    for (const [claim, name] of [
      ['app', 'app'],
      ['externalId', 'xid (the external id)'],
    ])
      if (this._glance && this._glance[claim] !== glance[claim])
        refuse(`The new token's claim ${name} is not the old one's.`);
    return [answer, glance];
  }

  /** Hold this token from now on, and plan its refreshes. fromCallback: it was made this moment. */
  _adopt(text, glance, fromCallback) {
    this._text = text;
    this._glance = glance;
    this._wanted = undefined;
    const wall = this._tools._wall();
    const { _issuedAt: issuedAt, _expiresAt: expiresAt } = glance;
    const life = Math.max(0, expiresAt - issuedAt);
    // A token made this moment that looks spent, or not yet issued, says that this clock is wrong, not the token.
    const start = fromCallback && !(issuedAt <= wall && wall < expiresAt) ? wall : issuedAt;
    this._expires = start + life;
    this._marks = [
      [start + life / 2, false],
      [start + (life * 3) / 4, false],
      [this._expires, true],
    ].filter(([when, isExpired]) => when > wall || isExpired);
  }

  /** A refresh is needed. Joined to the one in flight, if any. */
  _want(isExpired) {
    if (this._refreshable && !this._asking) this._wanted = this._wanted || isExpired;
  }

  /** The service said that the token is no longer good. */
  _spend() {
    this._expires = Math.min(this._expires, this._tools._wall());
    this._marks = [];
    this._want(true);
  }

  /**
   * When `run` has something to do; live: whether the schedule counts (a connection carries the session). now and wall:
   * the same instant on both clocks.
   */
  _due(now, wall, live) {
    if (this._asking) return this._askedAt + this._settings._askLimit;
    if (this._wanted !== undefined)
      return this._askedAt === undefined ? now : Math.max(now, this._askedAt + this._settings._askGap);
    if (live && this._marks.length && this._refreshable)
      return now + Math.max(0, this._marks[0][0] - wall);
    return undefined;
  }

  /** [effects, error, isExpired]: the error where the refresh in flight took too long. */
  _run(now, live) {
    if (this._asking) {
      const { number, isExpired } = this._asking;
      const { _askLimit } = this._settings;
      if (now < this._askedAt + _askLimit) return [[]];
      this._asking = undefined;
      const error = new errors.TokenRefreshError(`The refresh callback took more than ${_askLimit} s.`);
      return [[{ type: 'dropAsk', number }], error, isExpired];
    }
    const wall = this._tools._wall();
    while (live && this._refreshable && this._marks.length && this._marks[0][0] <= wall)
      this._want(this._marks.shift()[1]);
    const due = this._due(now, wall, live);
    if (this._wanted === undefined || due > now) return [[]];
    this._asking = { type: 'askToken', number: ++this._number, isExpired: this._wanted };
    this._wanted = undefined;
    this._askedAt = now;
    return [[this._asking]];
  }

  /** Take the callback's answer: [error or undefined, isExpired]; undefined for a late one. */
  _answer(number, answer) {
    const asking = this._asking;
    if (asking?.number !== number) return undefined;
    this._asking = undefined;
    const { isExpired } = asking;
    if (answer instanceof errors.GreenroomError) return [answer, isExpired];
    if (answer instanceof Error)
      return [new errors.TokenRefreshError(`The refresh callback threw ${answer.name}.`, { cause: answer }), isExpired];
    let checked;
    try {
      checked = this._check(answer);
    } catch (error) {
      return [error, isExpired];
    }
    if (checked[0] !== this._text) this._adopt(...checked, true);
    else if (isExpired && !this._usable())
      return [new errors.TokenRefreshError('The refresh callback returned the token that is spent.'), true];
    return [undefined, isExpired];
  }

  /** Nothing is waited for any more (the session is closed); the token is kept. */
  _giveUp() {
    const asking = this._asking;
    this._asking = this._wanted = undefined;
    return asking ? [{ type: 'dropAsk', number: asking.number }] : [];
  }
}
