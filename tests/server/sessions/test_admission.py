"""What a node lets in: opens a second, bad tokens a minute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from greenroom.core.server.services import Now, SessionLimits
from greenroom.errors import RateLimitedError, TokenExpiredError, TokenInvalidError
from greenroom.model import Application
from greenroom.server.sessions.admission import Admission
from greenroom.server.tenants.revocations import Revocations
from greenroom.server.wire.addresses import Limits
from greenroom.tokens import KeyRing, generate_key, mint_client_token

ISSUER = "https://greenroom.test"
WALL = 1_700_000_000.0


class FakeTenants:
    """Two applications and a key ring."""

    def __init__(self) -> None:
        self.ring = KeyRing(generate_key(os.urandom, created_at=0))
        self.revocations = Revocations(lambda: WALL)
        self.known = {key: Application(key=key, name=key, namespace="n") for key in ("a", "b")}

    def get(self, app_key: str) -> Application | None:
        return self.known.get(app_key)

    def token(self, app: str = "a", *, bad: bool = False, now: float = WALL) -> str:
        ring = KeyRing(generate_key(os.urandom, created_at=0)) if bad else self.ring
        minted = mint_client_token(
            ring, issuer=ISSUER, app=app, version=2, scopes=(), now=now, random_bytes=os.urandom, life=60
        )
        return minted.token


def _admission(tenants: Any, **options: Any) -> Admission:
    limits: dict[str, Any] = {"opens_per_second": 2.0, "failed_auth": 3, "protocol_violations": 3}
    values = {**limits, "limits": Limits(), **options}
    return Admission(tenants, issuer=ISSUER, session_limits=SessionLimits(), now=0.0, **values)


@contextmanager
def refused(error: type[Exception]) -> Iterator[None]:
    with pytest.raises(error):
        yield


def test_so_many_opens_a_second() -> None:
    admission = _admission(FakeTenants())
    for _ in range(2):
        admission.check_room(Now(10.0, WALL))
        admission.admit("p", Now(10.0, WALL))
    with pytest.raises(RateLimitedError) as caught:
        admission.check_room(Now(10.0, WALL))
    assert caught.value.retry_after == 1.0
    with refused(RateLimitedError):
        admission.admit("p", Now(10.0, WALL))
    admission.admit("p", Now(10.6, WALL))


def test_bad_tokens_of_one_application_and_address_are_limited_and_nobody_else() -> None:
    tenants = FakeTenants()
    admission = _admission(tenants)
    now = Now(10.0, WALL)
    for _ in range(3):
        with refused(TokenInvalidError):
            admission.verify(tenants.token(bad=True), "192.0.2.1", now)
    with pytest.raises(RateLimitedError) as caught:
        admission.verify(tenants.token(), "192.0.2.1", now)
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 20
    assert admission.verify(tenants.token(), "192.0.2.2", now).app == "a"
    assert admission.verify(tenants.token("b"), "192.0.2.1", now).app == "b"
    assert admission.verify(tenants.token(), "192.0.2.1", Now(31.0, WALL)).app == "a"


def test_made_up_applications_count_as_one() -> None:
    tenants = FakeTenants()
    admission = _admission(tenants)
    for number in range(3):
        with refused(TokenInvalidError):
            admission.verify(tenants.token(f"made up {number}", bad=True), "192.0.2.1", Now(10.0, WALL))
    with refused(RateLimitedError):
        admission.verify(tenants.token("made up 9", bad=True), "192.0.2.1", Now(10.0, WALL))
    with refused(RateLimitedError):
        admission.verify("nonsense", "192.0.2.1", Now(10.0, WALL))
    assert admission.verify(tenants.token(), "192.0.2.1", Now(10.0, WALL)).app == "a"


def test_a_token_that_has_expired_is_no_bad_sign_in() -> None:
    tenants = FakeTenants()
    admission = _admission(tenants)
    for _ in range(9):
        with refused(TokenExpiredError):
            admission.verify(tenants.token(now=WALL - 100), "192.0.2.1", Now(10.0, WALL))
    assert admission.verify(tenants.token(), "192.0.2.1", Now(10.0, WALL)).app == "a"


def test_who_is_cut_off_all_the_time_has_to_wait_and_nobody_else() -> None:
    admission = _admission(FakeTenants())
    now = Now(10.0, WALL)
    for _ in range(3):
        admission.check_violations("bad", now)
        admission.note_violation("bad", now)
    with pytest.raises(RateLimitedError) as caught:
        admission.check_violations("bad", now)
    assert caught.value.retry_after == pytest.approx(20.0)
    admission.check_violations("good", now)
    admission.check_violations("bad", Now(31.0, WALL))


def test_trusted_proxies_are_exempt() -> None:
    tenants = FakeTenants()
    admission = _admission(tenants, limits=Limits(trusted_proxies=("192.0.2.0/24",)))
    for _ in range(9):
        with refused(TokenInvalidError):
            admission.verify(tenants.token(bad=True), "192.0.2.1", Now(10.0, WALL))
    assert admission.verify(tenants.token(), "192.0.2.1", Now(10.0, WALL)).app == "a"
