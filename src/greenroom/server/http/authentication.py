"""Who calls: app key and secret, an API token, or the admin token; and the limit on failed attempts (promise 10)."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from greenroom.codes import ErrorCode
from greenroom.core.rate_limit import KeyedBuckets
from greenroom.errors import GreenroomError, NotFoundError, RateLimitedError, ScopeMissingError, TokenInvalidError
from greenroom.model import Application
from greenroom.server.http.context import HttpContext
from greenroom.server.http.problems import NO_STORE, ProblemError, challenge, problem_of
from greenroom.server.http.routes import Auth, Route
from greenroom.server.wire.addresses import is_loopback
from greenroom.tokens import TokenKind, VerifiedToken, parse_basic, require_scope, verify

log = logging.getLogger("greenroom.http")

_MAX_KEY = 64
APPLICATION_HEADER = "Greenroom-App"
"""Names the application that an operator acts for, beside the admin token, where an API token is expected."""
_PASSED_ON = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Forwarded", "Via")
"""Headers that proxies add."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who was found to be calling."""

    application: Application | None = None
    token: VerifiedToken | None = None


_NOBODY = Who()


class Authenticator:
    """Checks credentials. monotonic: seconds of a clock that does not run backwards, for the limit."""

    def __init__(self, context: HttpContext, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._monotonic = monotonic
        most = context.config.failed_auth_per_minute
        self._failed = KeyedBuckets(most / 60, most)
        self._logged = KeyedBuckets(1 / 60, 1)
        """A line in the log a minute for each address."""

    def check(self, route: Route, headers: Mapping[str, str], address: str) -> Who:
        """Who calls the route. Raises ProblemError 401, 403 or 429, with the challenge that belongs to the route."""
        if route.auth is Auth.NONE:
            return _NOBODY
        scheme = "Basic" if route.auth is Auth.BASIC else "Bearer"
        given = headers.get("Authorization")
        try:
            if route.auth is Auth.BASIC:
                return self._basic(given, address)
            if route.auth is Auth.ADMIN:
                return self._admin(given, address)
            if route.auth is Auth.METRICS:
                return self._metrics(given, headers, address)
            operated = headers.get(APPLICATION_HEADER)
            if operated is not None:
                return self._operator(given, operated, address)
            return self._api(given, route.scope)
        except GreenroomError as error:
            problem = problem_of(error)
            if problem.status == 401 or isinstance(error, ScopeMissingError):
                problem = problem.with_headers(challenge(scheme, None if given is None else error))
            raise ProblemError(problem.with_headers(NO_STORE)) from None

    def _basic(self, given: str | None, address: str) -> Who:
        readings = parse_basic(given)
        if not readings:
            raise TokenInvalidError(
                "App key and secret are missing.",
                hint="Send them as HTTP Basic (RFC 7617): Authorization: Basic base64(key:secret).",
                code=ErrorCode.INVALID_CLIENT,
            )
        application = self._context.tenants.authenticate(readings)
        if application is None:
            raise self._failed_with("basic", readings[0].app_key, address) or TokenInvalidError(
                code=ErrorCode.INVALID_CLIENT
            )
        if application.disabled:
            raise TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED)
        return Who(application)

    def _metrics(self, given: str | None, headers: Mapping[str, str], address: str) -> Who:
        config = self._context.config
        if given is None and config.metrics_from_loopback == "on" and is_local(headers, address):
            return _NOBODY
        tokens = [self._context.admin_token] + ([config.metrics_token] if config.metrics_token else [])
        return self._one_of(tokens, given, address, "the metrics token or the admin token")

    def _admin(self, given: str | None, address: str) -> Who:
        return self._one_of((self._context.admin_token,), given, address, "the admin token")

    def _one_of(self, tokens: Sequence[str], given: str | None, address: str, what: str) -> Who:
        token = _bearer(given, what).encode("utf-8", "replace")
        # All of them, whichever it is: it takes the same time.
        if not sum(hmac.compare_digest(token, each.encode()) for each in tokens):
            raise self._failed_with("operator", "", address) or TokenInvalidError(
                f"This is not {what}.",
                hint="The admin token is GREENROOM_ADMIN_TOKEN, or in the file admin-token of the data directory.",
            )
        return _NOBODY

    def _api(self, given: str | None, scope: str | None) -> Who:
        text = _bearer(given, "an API token")
        tenants = self._context.tenants
        issuer = self._context.issuer
        token = verify(text, tenants.keys.ring, kind=TokenKind.API, issuer=issuer, now=tenants.now())
        application = tenants.get(token.app)
        if application is not None and application.disabled:
            raise TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED)
        if application is None or tenants.revocations.is_revoked(application, token):
            raise TokenInvalidError(code=ErrorCode.TOKEN_REVOKED)
        if scope is not None:
            require_scope(token.scopes, scope)
        return Who(application, token)

    def _operator(self, given: str | None, app_key: str, address: str) -> Who:
        """The admin token acts for any application that the request names, disabled ones too."""
        self._admin(given, address)
        application = self._context.tenants.get(app_key)
        if application is None:
            raise NotFoundError(f"There is no application {app_key}.", hint="See: greenroom apps list.")
        return Who(application)

    def _failed_with(self, kind: str, key: str, address: str) -> RateLimitedError | None:
        """Count a failed attempt; the refusal where there were too many. Only failures come here: whoever has the right
        credentials never pays for another client's. None where the address is one of our proxies, too."""
        if self._context.limits.is_trusted(address):
            return None
        attempt = f"{kind}\n{key[:_MAX_KEY]}\n{address}"
        now = self._monotonic()
        if self._failed.take(attempt, now):
            return None
        wait = self._failed.wait(attempt, now)
        if self._logged.take(address, now):
            log.warning("too many failed sign-ins: address=%s", address)
        return RateLimitedError(
            "Too many attempts with wrong credentials.",
            hint=f"Wait {int(wait) + 1} s, then use the right ones.",
            retry_after=wait,
        )


def is_local(headers: Mapping[str, str], address: str) -> bool:
    """Whether a request is of this machine itself. headers: with names in any letter case.

    Not, though its address is loopback, where a proxy on this machine passed it on, or where the Host is another's: a
    page of elsewhere may have had its name made to resolve to loopback.
    """
    if any(name in headers for name in _PASSED_ON) or not is_loopback(address):
        return False
    try:
        host = urlsplit("//" + headers.get("Host", "")).hostname or ""
    except ValueError:
        return False
    return is_loopback(host)


def _bearer(given: str | None, what: str) -> str:
    """The token of an Authorization header (RFC 6750, section 2.1); the scheme in any letter case."""
    scheme, _, token = (given or "").strip(" \t").partition(" ")
    if scheme.lower() != "bearer" or not token.strip(" "):
        raise TokenInvalidError(f"This call needs {what}.", hint="Send it as Authorization: Bearer <token>.")
    return token.strip(" ")
