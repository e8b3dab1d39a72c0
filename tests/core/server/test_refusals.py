"""Opens and resumes that are refused: the answer, and whether the connection may try again."""

from __future__ import annotations

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.errors import (
    GreenroomError,
    ParticipantBlockedError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenInvalidError,
    TooManySessionsError,
)
from tests.core.server.rig import Rig, S


def test_the_hello_clock_restarts_after_a_failed_resume() -> None:
    rig = Rig()
    rig.pass_time(9)
    number = rig.resume()
    rig.answer(SessionEndedError(end_reason="timeout"))
    assert rig.error(number) == ErrorCode.SESSION_ENDED
    assert rig.is_in(S.HELLO)
    rig.pass_time(9)
    assert not rig.is_closed()
    again = rig.hello()
    rig.join()
    assert rig.result(again)["session"]["id"] == "p1-01"


def test_a_ping_between_a_failed_resume_and_an_open_is_answered() -> None:
    rig = Rig()
    rig.resume()
    rig.answer(SessionEndedError(code=ErrorCode.STATE_LOST))
    number = rig.send("ping")
    assert rig.result(number) == {}
    assert rig.is_in(S.HELLO)


def test_too_many_failed_hellos_close() -> None:
    rig = Rig()
    for _ in range(5):
        assert not rig.is_closed()
        rig.resume()
        rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.close_code == CloseCode.RATE_LIMITED


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (TokenInvalidError(), 4500),
        (TokenInvalidError(code=ErrorCode.TOKEN_REVOKED), 4501),
        (ParticipantBlockedError(until=1), 4501),
        (TokenInvalidError(code=ErrorCode.TOKEN_MISMATCH), 4504),
        (TooManySessionsError(), 4506),
        (TooManySessionsError(code=ErrorCode.APPLICATION_LIMIT_REACHED), 4506),
        (TokenInvalidError(code=ErrorCode.APPLICATION_DISABLED), 4507),
        (ServiceUnavailableError(), 4008),
        (ServiceUnavailableError(code=ErrorCode.STORAGE_FULL), 4008),
        (ServiceUnavailableError(code=ErrorCode.FENCED), 4007),
        (ServiceUnavailableError(code=ErrorCode.DRAINING), 4001),
        (ServiceUnavailableError(code=ErrorCode.INTERNAL_ERROR), 4008),
    ],
)
def test_a_refused_open_is_answered_then_closed(error: GreenroomError, close: int) -> None:
    rig = Rig()
    number = rig.hello()
    rig.answer(error)
    assert rig.error(number) == error.code
    assert rig.close_code == close
    assert rig.closed is not None
    assert rig.closed.reason
    assert rig.is_in(S.GONE)
    assert len(rig.calls) == 1


@pytest.mark.parametrize("code", [ErrorCode.SESSION_ENDED, ErrorCode.OPEN_ID_CONFLICT])
def test_an_open_id_of_a_session_that_ended_leaves_room_for_another(code: ErrorCode) -> None:
    rig = Rig()
    number = rig.hello()
    rig.answer(SessionEndedError(code=code, end_reason="closed"))
    assert rig.error(number) == code
    assert not rig.is_closed()
    assert rig.is_in(S.HELLO)


def test_refusals_are_reported_with_their_reason() -> None:
    rig = Rig()
    rig.hello(token="bad")
    assert rig.refusals == [("Invalid_token", False)]
    rig = Rig()
    rig.resume()
    rig.answer(SessionEndedError(code=ErrorCode.STATE_LOST))
    assert rig.refusals == [("state_lost", True)]
