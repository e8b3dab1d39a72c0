"""The refresh of a token, and what takes a session's rights away."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import RefreshRequest, UnwatchRequest
from greenroom.errors import ParticipantBlockedError
from greenroom.model import EndReason
from tests.core.server.rig import ANNA, APP, BOB, WALL, FakeServices, Rig, S, Token, person, token_for


def test_a_disabled_application_ends_its_sessions() -> None:
    rig = Rig().open()
    rig.services.change(disabled=True)
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1].reason is EndReason.APPLICATION_DISABLED
    rig.answer(None)
    assert rig.close_code == CloseCode.APPLICATION_DISABLED


def test_a_cut_off_of_the_application_ends_sessions_of_older_tokens_only() -> None:
    rig = Rig().open()
    rig.services.change(revoked_before=int(WALL) - 1)
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)
    rig.services.change(revoked_before=int(WALL))
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1].reason is EndReason.TOKEN_REVOKED


def test_a_missing_application_is_not_read_as_deleted() -> None:
    rig = Rig().open()
    rig.services.applications.clear()
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)


def test_a_token_revoked_by_its_jti_ends_the_sessions_that_it_opened() -> None:
    rig = Rig().open(jti="jti-1")
    rig.services.revoked_jtis.add((APP, "jti-2"))
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)
    rig.services.revoked_jtis.add((APP, "jti-1"))
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1].reason is EndReason.TOKEN_REVOKED


def test_a_session_that_was_being_opened_when_its_token_was_revoked_ends_too() -> None:
    """The report: sessions that opened during the call survived in 8 of 8 rounds."""
    rig = Rig()
    rig.hello()
    rig.services.revoked_jtis.add((APP, "jti-1"))
    rig.join(jti="jti-1")
    assert rig.requests[-1].reason is EndReason.TOKEN_REVOKED


def test_after_a_refresh_the_new_token_counts() -> None:
    rig = Rig().open(jti="jti-1")
    rig.services.tokens["new"] = token_for("anna", jti="jti-2")
    rig.send("session.refreshToken", token="new")
    rig.answer(None)
    rig.services.revoked_jtis.add((APP, "jti-1"))
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)
    assert rig.services.verified_for[-1] == "p1-01"


def test_a_refresh_brings_an_expired_session_back() -> None:
    rig = Rig().open()
    rig.services.tokens["new"] = token_for("anna", expires_at=int(WALL) + 9000, scopes=("session:update",))
    rig.pass_alive(3610)
    number = rig.send("session.refreshToken", token="new")
    assert isinstance(rig.requests[-1], RefreshRequest)
    rig.answer(None)
    assert rig.result(number) == {"expiresAt": (int(WALL) + 9000) * 1000, "scopes": ["session:update"]}
    assert rig.is_in(S.OPEN)
    rig.pass_alive(5000)
    assert rig.is_in(S.OPEN)


def test_a_spent_token_refreshed_with_itself_gains_nothing() -> None:
    rig = Rig().open()
    rig.pass_alive(3610)
    rig.send("session.refreshToken", token="anna")
    rig.answer(None)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(21)
    assert rig.is_in(S.ENDING)


def test_fewer_scopes_count_at_once_and_drop_the_watches() -> None:
    rig = Rig().open()
    rig.send("participants.watch", ids=[BOB])
    rig.answer([person(BOB, 3)])
    rig.services.tokens["new"] = token_for("anna", scopes=())
    rig.send("session.refreshToken", token="new")
    rig.answer(None)
    assert rig.requests[-1] == UnwatchRequest(APP, (BOB,))
    assert rig.machine.context.watches.ids == (ANNA,)
    assert rig.error(rig.send("participants.get", ids=[BOB])) == ErrorCode.SCOPE_MISSING
    assert rig.error(rig.send("session.updateParticipantInfo", updateId="u", name="x")) == ErrorCode.SCOPE_MISSING


@pytest.mark.parametrize(
    ("token", "good"),
    [
        (token_for("anna"), True),
        (token_for("bob"), False),
        (Token(version=2), False),
        (Token(version=1), True),
        (token_for("anna", app="app-2"), False),
    ],
)
def test_a_new_token_must_be_for_the_same_participant(token: Token, good: bool) -> None:
    services = FakeServices()
    services.applications["app-2"] = msgspec.structs.replace(services.applications[APP], key="app-2")
    services.tokens["new"] = token
    rig = Rig(services).open()
    number = rig.send("session.refreshToken", token="new")
    if good:
        assert isinstance(rig.requests[-1], RefreshRequest)
    else:
        assert rig.error(number) == ErrorCode.TOKEN_MISMATCH
        assert rig.is_in(S.OPEN)


def test_a_refused_refresh_leaves_the_old_token() -> None:
    rig = Rig().open()
    number = rig.send("session.refreshToken", token="bad")
    assert rig.error(number) == ErrorCode.TOKEN_INVALID
    number = rig.send("session.refreshToken", token="anna")
    rig.answer(ParticipantBlockedError())
    assert rig.error(number) == ErrorCode.PARTICIPANT_BLOCKED
    assert rig.is_in(S.OPEN)
    assert rig.machine.context.token.expires_at == int(WALL) + 3600
