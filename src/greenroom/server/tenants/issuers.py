"""The issuers of all applications: whose a token is, and whether it is good. Sync, and without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from greenroom.errors import TokenInvalidError
from greenroom.model import Application, TokenIssuer
from greenroom.server.tenants.key_sets import KeySets
from greenroom.server.tenants.secrets import SecretStore
from greenroom.tokens import VerifiedToken
from greenroom.tokens.issuers import (
    ExaminedPart,
    IssuedToken,
    IssuerKey,
    examine,
    find_key,
    key_of,
    pairs_in,
    shared_secret,
    verify_issued,
)
from greenroom.tokens.reader import ForeignParts, refuse, split_foreign

MAX_ISSUERS = 8
"""Of an application."""


class _Entry:
    """One issuer of one application. Its keys are made at the first token."""

    def __init__(
        self, app: str, issuer: TokenIssuer, make: Callable[[str, TokenIssuer], tuple[IssuerKey, ...]]
    ) -> None:
        self.app = app
        self.issuer = issuer
        self._make = make
        self._keys: tuple[IssuerKey, ...] | None = None

    def find(self, kid: str | None) -> IssuerKey | None:
        if self._keys is None:
            self._keys = self._make(self.app, self.issuer)
        return find_key(self._keys, kid)


class Issuers:
    """A copy of what the applications say. get: the application of a key, or None."""

    def __init__(self, secrets: SecretStore, key_sets: KeySets, get: Callable[[str], Application | None]) -> None:
        self.key_sets = key_sets
        self._secrets = secrets
        self._get = get
        self._of_app: dict[str, tuple[_Entry, ...]] = {}
        self._by_pair: dict[tuple[str, str], tuple[_Entry, ...]] = {}

    def replace(self, applications: Iterable[Application]) -> None:
        """These are the applications now."""
        known = {entry.issuer.id: entry for entries in self._of_app.values() for entry in entries}
        self._of_app = {app.key: self._entries(app, known) for app in applications if app.issuers and not app.deleted}
        self._index()

    def put(self, application: Application) -> None:
        """One is new or has changed."""
        before = self._of_app.get(application.key, ())
        if tuple(entry.issuer for entry in before) == application.issuers:
            return
        self._of_app[application.key] = self._entries(application, {entry.issuer.id: entry for entry in before})
        self._index()

    def verify(self, token: object, now: float) -> VerifiedToken | None:
        """The token, if an issuer of an application made it and it is good; None where it is not such a token at all.
        now: Unix seconds.

        Raises TokenInvalidError, TokenExpiredError, and ServiceUnavailableError where the issuer's key set has to be
        fetched first. Revocation is not checked here.
        """
        if not self._by_pair:
            return None
        try:
            parts = split_foreign(token)
        except TokenInvalidError:
            return None
        pairs = pairs_in(parts)
        entry = self._entry(pairs)
        application = None if entry is None else self._get(entry.app)
        if entry is None or application is None:
            if pairs:
                refuse(
                    "The token's issuer and audience (iss, aud) belong to no application here.",
                    "See: greenroom apps issuers test.",
                )
            return None
        return verify_issued(self._issued(entry, application, parts, now))

    def application_of(self, token: object) -> str | None:
        """The key of the application that the token says it is of, unverified; None where it says none."""
        try:
            entry = self._entry(pairs_in(split_foreign(token))) if self._by_pair else None
        except TokenInvalidError:
            return None
        return None if entry is None else entry.app

    async def examine(self, application: Application, token: str, now: float) -> Iterator[ExaminedPart]:
        """Part by part what is made of a token of this application's. Waits for a key set that has to be fetched."""
        try:
            parts = split_foreign(token.strip())
        except TokenInvalidError as error:
            return iter((ExaminedPart("form", "", error),))
        pairs = pairs_in(parts)
        own = {(one.issuer, one.audience) for one in application.issuers}
        named = [pair for pair in pairs if pair in own]
        if not named:
            return iter((ExaminedPart("iss and aud", "", _stranger(parts, own)),))
        try:
            entry = self._entry(pairs)
        except TokenInvalidError as error:
            return iter((ExaminedPart("aud", "", error),))
        assert entry is not None
        if entry.issuer.jwks_url is not None:
            await self.key_sets.fetch_now(entry.app, entry.issuer, parts.header.kid)
        return examine(self._issued(entry, application, parts, now))

    # -- parts --------------------------------------------------------------------------------------------------------

    def _entries(self, application: Application, known: dict[str, _Entry]) -> tuple[_Entry, ...]:
        found = []
        for issuer in application.issuers:
            entry = known.get(issuer.id)
            same = entry is not None and entry.app == application.key and entry.issuer == issuer
            found.append(entry if same and entry is not None else _Entry(application.key, issuer, self._keys_of))
        return tuple(found)

    def _index(self) -> None:
        by_pair: dict[tuple[str, str], tuple[_Entry, ...]] = {}
        for entries in self._of_app.values():
            for entry in entries:
                pair = (entry.issuer.issuer, entry.issuer.audience)
                by_pair[pair] = (*by_pair.get(pair, ()), entry)
        self._by_pair = by_pair
        self.key_sets.keep({(entry.app, entry.issuer.id) for entries in by_pair.values() for entry in entries})

    def _entry(self, pairs: Iterable[tuple[str, str]]) -> _Entry | None:
        """Raises TokenInvalidError where several fit: from the pair must follow the application."""
        found = [entry for pair in pairs for entry in self._by_pair.get(pair, ())]
        if len(found) > 1:
            refuse(
                "The token's claim aud names several audiences that are registered here.",
                "Let its issuer use only one of them.",
            )
        return found[0] if found else None

    def _issued(self, entry: _Entry, application: Application, parts: ForeignParts, now: float) -> IssuedToken:
        find = entry.find
        if entry.issuer.jwks_url is not None:
            find = partial(self.key_sets.find, entry.app, entry.issuer)
        return IssuedToken(parts, entry.issuer, application, find, now)

    def _keys_of(self, app: str, issuer: TokenIssuer) -> tuple[IssuerKey, ...]:
        if issuer.sealed_secret:
            return (shared_secret(self._secrets.open(issuer.sealed_secret, secret_context(app, issuer.id)).encode()),)
        return tuple(key_of(jwk, issuer.algorithms) for jwk in issuer.keys)


def secret_context(app: str, issuer_id: str) -> str:
    """What an HS256 secret is sealed for: it cannot be put in the place of another one."""
    return f"issuer secret {app} {issuer_id}"


def _stranger(parts: ForeignParts, own: set[tuple[str, str]]) -> TokenInvalidError:
    known = "; ".join(f"iss {issuer} with aud {audience}" for issuer, audience in sorted(own)) or "none"
    return TokenInvalidError(
        f"The token has iss {_shown(parts.claims.get('iss'))} and aud {_shown(parts.claims.get('aud'))}."
        f" The application's issuers: {known}.",
        hint="Add an issuer with exactly these, or get the token for this audience.",
    )


def _shown(value: object) -> str:
    return "none" if value is None else repr(value)[:300]
