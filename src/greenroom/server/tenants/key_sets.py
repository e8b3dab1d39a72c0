"""Key sets that issuers publish, fetched and kept. Each node has its own copies.

Verifying a token never waits for another party: a key that is not here yet is asked for, and the client gets an error
that says to retry a second later. A set that is in use is fetched again before it is too old, so that no sign-in meets
an old one; where its issuer is away, the last good set is used for a day more. What one application's issuers cost is
bounded: two requests at a time, ten seconds and 64 KiB each, 64 keys of a set, and for keys that nobody knows one
request in 30 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol

import msgspec

from greenroom.errors import IllegalArgumentError, ServiceUnavailableError
from greenroom.model import TokenIssuer
from greenroom.server.outbound.documents import Document, FetchFailedError
from greenroom.tokens.issuers import IssuerKey, find_key, key_of

LEAST_FRESH = 300.0
"""Seconds for which a set is kept at least, and where Cache-Control says nothing."""
MOST_FRESH = 86_400.0
STALE = 86_400.0
"""Seconds for which the last good set is used after that, where no newer one is to be had."""
AGAIN = 30.0
"""Seconds between two requests for one set."""
AHEAD = 60.0
"""Seconds before a set in use becomes old that it is fetched again."""
UNUSED = 86_400.0
"""Seconds after which a set that no token asked for is dropped."""
AT_ONCE = 2
"""Requests of one application that are under way at a time."""
MAX_KEYS = 64
EVERY = 10.0
"""Seconds between two looks at what has to be fetched again."""
COME_BACK = 1.0
"""`retryAfter` for clients while a set is fetched, in seconds."""
MAX_ASKED = 100
"""Unknown kids of one set that are remembered."""


class Fetcher(Protocol):
    """`DocumentFetcher` is one."""

    def check(self, url: str) -> str:
        """The URL, if it may be asked for. Raises IllegalArgumentError."""

    async def fetch(self, url: str, *, app: str) -> Document:
        """The document, on behalf of an application. Raises FetchFailedError."""


class KeySetState(NamedTuple):
    """How a set stands on this node. age: seconds since it was fetched; None: never. keys: how many are used. failures:
    requests in a row that failed. why: of the last one; "" where it did not."""

    age: float | None
    keys: int
    failures: int
    why: str


class _KeySet:
    def __init__(self, app: str, issuer: TokenIssuer, now: float) -> None:
        self.app = app
        self.issuer = issuer
        self.used_at = now
        self.keys: tuple[IssuerKey, ...] = ()
        self.fetched_at: float | None = None
        self.fresh_until = now
        self.began_at: float | None = None
        self.failures = 0
        self.why = ""
        self.task: asyncio.Task[None] | None = None
        self.asked: dict[str | None, float] = {}
        """Kids that no key has, and when they were first asked for."""


class KeySets:
    """fetcher: gets them. monotonic: seconds. fetched: called with the application and whether
    it went well, after each request."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        monotonic: Callable[[], float],
        fetched: Callable[[str, bool], None] = lambda _app, _good: None,
    ) -> None:
        self.check_url = fetcher.check
        """The URL, if a set may be fetched from it. Raises IllegalArgumentError."""
        self._fetch = fetcher.fetch
        self._now = monotonic
        self._fetched = fetched
        self._sets: dict[tuple[str, str], _KeySet] = {}

    def find(self, app: str, issuer: TokenIssuer, kid: str | None) -> IssuerKey | None:
        """The issuer's key of that name; None where it has none. Raises ServiceUnavailableError, with when to come
        back, where the set has to be fetched first."""
        now = self._now()
        one = self._used(app, issuer, now)
        if now >= one.fresh_until + STALE:
            one.keys = ()
        found = find_key(one.keys, kid)
        if found is not None:
            return found
        if self._is_known_missing(one, kid, now):
            return None
        self._start(one, now)
        wait = COME_BACK
        if one.task is None and one.began_at is not None:
            wait = max(COME_BACK, one.began_at + AGAIN - now)
        raise ServiceUnavailableError("The key set of the token's issuer has not been fetched yet.", retry_after=wait)

    async def fetch_now(self, app: str, issuer: TokenIssuer, kid: str | None = None) -> KeySetState:
        """Waits for what `find` would ask for, and says how the set stands. For people who wait, not for sign-ins."""
        try:
            self.find(app, issuer, kid)
        except ServiceUnavailableError:
            task = self._sets[app, issuer.id].task
            if task is not None:
                await asyncio.wait([task])
        return self.state(app, issuer)

    def state(self, app: str, issuer: TokenIssuer) -> KeySetState:
        """How the set stands on this node."""
        one = self._sets.get((app, issuer.id))
        if one is None:
            return KeySetState(None, 0, 0, "")
        age = None if one.fetched_at is None else self._now() - one.fetched_at
        return KeySetState(age, len(one.keys), one.failures, one.why)

    @property
    def states(self) -> dict[tuple[str, str], KeySetState]:
        """How all sets in use stand, by application and issuer's id."""
        return {key: self.state(key[0], one.issuer) for key, one in self._sets.items()}

    def keep(self, known: Collection[tuple[str, str]]) -> None:
        """These issuers, by application and id, are there now: others are forgotten."""
        for key in [key for key in self._sets if key not in known]:
            self._drop(key)

    # -- in the background --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fetches sets in use again before they are old; until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            self.tick()

    def tick(self) -> None:
        """One look at all sets."""
        now = self._now()
        for key, one in list(self._sets.items()):
            if now >= one.used_at + UNUSED:
                self._drop(key)
            elif now >= one.fresh_until - AHEAD:
                self._start(one, now)

    async def close(self) -> None:
        """Cancels what is under way."""
        tasks = [one.task for one in self._sets.values() if one.task is not None]
        self.keep(())
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- parts --------------------------------------------------------------------------------------------------------

    def _used(self, app: str, issuer: TokenIssuer, now: float) -> _KeySet:
        one = self._sets.get((app, issuer.id))
        if one is None:
            one = self._sets[app, issuer.id] = _KeySet(app, issuer, now)
        one.used_at = now
        return one

    def _is_known_missing(self, one: _KeySet, kid: str | None, now: float) -> bool:
        """Whether a request that began after the kid was first asked for has ended well, lately, without it."""
        first = one.asked.get(kid)
        if first is None or first < now - 2 * AGAIN:
            while len(one.asked) >= MAX_ASKED:
                del one.asked[next(iter(one.asked))]
            one.asked.pop(kid, None)
            one.asked[kid] = now
            return False
        return one.task is None and bool(one.keys) and one.failures == 0 and (one.began_at or 0.0) >= first

    def _start(self, one: _KeySet, now: float) -> None:
        if one.task is not None or (one.began_at is not None and now < one.began_at + AGAIN):
            return
        under_way = sum(other.task is not None for other in self._sets.values() if other.app == one.app)
        if under_way < AT_ONCE:
            one.began_at = now
            one.task = asyncio.get_running_loop().create_task(self._load(one))

    async def _load(self, one: _KeySet) -> None:
        try:
            document = await self._fetch(one.issuer.jwks_url or "", app=one.app)
            one.keys = keys_in(document.body, one.issuer)
        except FetchFailedError as error:
            one.failures += 1
            one.why = str(error)
        else:
            one.failures, one.why = 0, ""
            one.fetched_at = self._now()
            kept = LEAST_FRESH if document.max_age is None else document.max_age
            one.fresh_until = one.fetched_at + min(max(kept, LEAST_FRESH), MOST_FRESH)
        finally:
            one.task = None
        self._fetched(one.app, one.failures == 0)

    def _drop(self, key: tuple[str, str]) -> None:
        one = self._sets.pop(key)
        if one.task is not None:
            one.task.cancel()


def keys_in(body: bytes, issuer: TokenIssuer) -> tuple[IssuerKey, ...]:
    """The keys of a set (RFC 7517, section 5) that can be used for the issuer; others, for encryption for example, are
    left out, and so is a second one of the same kid. Raises FetchFailedError."""
    try:
        members = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        members = None
    if not isinstance(members, list):
        raise FetchFailedError("the answer is not a key set (RFC 7517)")
    if len(members) > MAX_KEYS:
        raise FetchFailedError(f"the key set has more than {MAX_KEYS} keys")
    found: dict[str | None, IssuerKey] = {}
    for jwk in members:
        try:
            key = key_of(jwk if isinstance(jwk, dict) else {}, issuer.algorithms)
        except IllegalArgumentError:
            continue
        found.setdefault(key.kid, key)
    if not found:
        raise FetchFailedError("the key set has no key for the issuer's algorithms")
    return tuple(found.values())
