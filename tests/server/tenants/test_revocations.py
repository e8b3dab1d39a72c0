"""What a node knows of revoked tokens, cut-offs and blocks, and what is stored for each request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.base import (
    BlockParticipant,
    CutOffTokens,
    EraseParticipant,
    KickParticipant,
    LiftBlock,
    Restricted,
    RestrictRequest,
    RevokeToken,
)
from greenroom.errors import ParticipantBlockedError, ServiceUnavailableError, TokenInvalidError
from greenroom.model import Application, Event, Restriction, SessionRecord, erased_subject
from greenroom.server.tenants.revocations import MAX_BUMP, Revocations, restrictions_made
from greenroom.tokens import TokenKind, VerifiedToken
from tests.server.http_service import START
from tests.server.tenants.test_applications import World, cutoff

NOW = 1_700_000_000
APP = Application(key="app", name="App", namespace="n")


def _known(*restrictions: Restriction) -> Revocations:
    found = Revocations(lambda: float(NOW))
    found.replace(restrictions)
    return found


def _restriction(kind: str, subject: str, **fields: object) -> Restriction:
    return Restriction(app="app", kind=kind, subject=subject, created_at=NOW * 1000, **fields)  # type: ignore[arg-type]


def _token(participant_id: str | None = "p", issued_at: int = NOW) -> VerifiedToken:
    return VerifiedToken(
        kind=TokenKind.CLIENT, issuer="i", app="app", participant_id=participant_id, external_id=None, scopes=(),
        issued_at=issued_at, not_before=0, expires_at=NOW + 60, jti="j", kid="k", version=2, policy=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "kinds"),
    [
        (KickParticipant(app="app", participant_id="p"), ["cutoff", "jti"]),
        (BlockParticipant(app="app", participant_id="p", until=5), ["cutoff", "jti", "block"]),
        (LiftBlock(app="app", participant_id="p"), ["block"]),
        (CutOffTokens(app="app", participant_id="p"), ["cutoff"]),
        (RevokeToken(app="app", participant_id="p", jti="j"), ["jti"]),
        (EraseParticipant(app="app", participant_id="p"), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_stored_for_a_request(request_: RestrictRequest, kinds: list[str]) -> None:
    session = SessionRecord(id="s", app="app", participant_id="p", external_id=None, jti="j")
    made = restrictions_made(request_, Restricted(ended=(session,), cutoff=NOW), 7)
    assert [one.kind for one in made] == kinds
    for one in made:
        assert (one.before, one.lifted) == (
            NOW if one.kind == "cutoff" else one.before,
            isinstance(request_, LiftBlock),
        )


def test_a_cut_off_refuses_what_is_not_newer() -> None:
    known = _known(_restriction("cutoff", "p", before=NOW))
    assert known.is_revoked(APP, _token(issued_at=NOW))
    assert not known.is_revoked(APP, _token(issued_at=NOW + 1))
    assert not known.is_revoked(APP, _token("other", NOW))


def test_an_older_cut_off_that_comes_later_changes_nothing() -> None:
    known = _known(_restriction("cutoff", "p", before=NOW))
    known.apply([_restriction("cutoff", "p", before=NOW - 100)])
    assert known.is_revoked(APP, _token(issued_at=NOW - 50))


def test_tokens_are_minted_above_the_newest_cut_off_and_not_from_the_future() -> None:
    known = _known(_restriction("cutoff", "p", before=NOW + MAX_BUMP - 1))
    assert known.cutoff(APP, "p") == NOW + MAX_BUMP - 1
    assert known.cutoff(APP, "other") is None
    assert known.cutoff(APP, None) is None
    with pytest.raises(ServiceUnavailableError) as refused:
        _known(_restriction("cutoff", "p", before=NOW + MAX_BUMP + 9)).cutoff(APP, "p")
    assert refused.value.retry_after == 10.0


@pytest.mark.parametrize("subject", ["p", erased_subject("p")])
def test_a_block_comes_first_also_one_that_an_erasure_left(subject: str) -> None:
    refusal = _known(_restriction("block", subject, until=(NOW + 5) * 1000)).refusal(_token())
    assert isinstance(refusal, ParticipantBlockedError)
    assert refusal.until == (NOW + 5) * 1000


def test_a_block_that_is_over_or_lifted_leaves_the_revoked_token() -> None:
    over = _known(_restriction("block", "p", until=(NOW - 5) * 1000))
    lifted = _known(_restriction("block", "p"))
    lifted.apply([_restriction("block", "p", lifted=True)])
    for known in (over, lifted):
        assert known.refusal(_token()).code == ErrorCode.TOKEN_REVOKED


def test_events_of_before_an_erasure_name_nobody() -> None:
    known = _known(_restriction("cutoff", erased_subject("p"), before=NOW))
    before, after = (
        Event(id="e", type="participant.updated", at=at, app="app", participant_id="p", data={"name": "Anna"})
        for at in (NOW * 1000, NOW * 1000 + 1)
    )
    assert "name" not in known.redacted(before).data
    assert known.redacted(after) is after


def test_what_is_no_longer_stored_is_forgotten() -> None:
    known = _known(_restriction("cutoff", "p", before=NOW), _restriction("jti", "j"), _restriction("block", "p"))
    known.replace(())
    assert not known.is_revoked(APP, _token())
    assert known.revoked_jtis == set()


async def test_what_is_lifted_does_not_count() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    cutoff = Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) - 5)
    world.directory.restricted = [cutoff]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 5
    assert tenants.revocations.cutoff(app, "other") is None
    world.directory.restricted = [msgspec.structs.replace(cutoff, lifted=True)]
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") is None


async def test_the_later_of_both_cut_offs_counts() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    world.directory.restricted = [Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) - 5)]
    app = await tenants.change(app.key, lambda stored: msgspec.structs.replace(stored, revoked_before=int(START) - 3))
    await tenants.reload()
    assert tenants.revocations.cutoff(app, "p") == START - 3
    assert tenants.revocations.cutoff(app, None) == START - 3


async def test_a_cut_off_that_lies_ahead_is_waited_for() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("Test")
    world.directory.restricted = [Restriction(app=app.key, kind="cutoff", subject="p", before=int(START) + 60)]
    await tenants.reload()
    with pytest.raises(ServiceUnavailableError) as caught:
        tenants.revocations.cutoff(app, "p")
    assert caught.value.retry_after == 57
    world.clock.now += 57
    assert tenants.revocations.cutoff(app, "p") == START + 60


async def test_a_cutoff_only_rises_and_a_block_that_is_lifted_is_gone() -> None:
    world = World()
    tenants = await world.loaded()
    app, _ = await tenants.create_application("App")
    for before in (5, 9, 7):
        tenants.apply((cutoff(app, "p", before),), 0, 0)
    assert [one.before for one in tenants.copy[2]] == [9]
    jti = Restriction(app=app.key, kind="jti", subject="jti")
    block = Restriction(app=app.key, kind="block", subject="p")
    token = cast(Any, SimpleNamespace(app=app.key, jti="jti", participant_id="p"))
    tenants.apply((jti, block), 0, 0)
    assert isinstance(tenants.revocations.refusal(token), ParticipantBlockedError)
    tenants.apply((msgspec.structs.replace(block, lifted=True),), 0, 0)
    assert isinstance(tenants.revocations.refusal(token), TokenInvalidError)
