"""How a session and its connection end, and with how much grace."""

from __future__ import annotations

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import DetachRequest, Owner
from greenroom.core.server.endings import CLOSE_OF_REASON, TEXT_OF_REASON
from greenroom.core.states import ServerState
from greenroom.errors import SessionEndedError
from greenroom.messages import Device
from greenroom.model import EndReason
from tests.core.server.rig import SECRET, Rig, S, ending, rig_in


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1000, None), (1001, 5.0), (1005, 40.0), (1006, 40.0), (4000, 40.0), (4002, 40.0), (1009, 40.0), (1011, 40.0)],
)
@pytest.mark.parametrize("state", [S.OPEN, S.FENCED, S.EXPIRED])
def test_the_grace_depends_on_the_close_code(code: int, expected: float | None, state: ServerState) -> None:
    rig = rig_in(state)
    rig.calls.clear()
    rig.lost(code)
    assert rig.is_in(S.GONE)
    owner = Owner("p1-01", 1, "lease-1")
    wanted = ending(owner, EndReason.CLOSED, can_wait=True) if expected is None else DetachRequest(owner, expected)
    assert rig.requests == [wanted]


def test_until_the_client_has_said_anything_after_the_reply_it_is_ten_seconds() -> None:
    rig = Rig()
    rig.hello()
    rig.send("ping")  # before the reply: says nothing about it
    rig.join()
    rig.lost(1006)
    assert rig.requests[-1] == DetachRequest(rig.owner, 10.0)
    rig = Rig()
    rig.hello()
    rig.join()
    rig.send("ping")
    rig.lost(1006)
    assert rig.requests[-1] == DetachRequest(rig.owner, 40.0)


def test_from_a_superseded_connection_1000_means_nothing() -> None:
    rig = Rig().open()
    rig.do("superseded", 2, rig.now)
    assert rig.close_code == CloseCode.SUPERSEDED
    assert not rig.notifications("session.ended")
    rig.lost(1000)
    assert not rig.calls


def test_an_older_generation_supersedes_nobody() -> None:
    rig = Rig().open(generation=3)
    rig.do("superseded", 2, rig.now)
    assert rig.is_in(S.OPEN)


def test_close_ends_the_session_then_the_connection() -> None:
    rig = Rig().open()
    number = rig.send("session.close")
    assert rig.requests == [ending(rig.owner, EndReason.CLOSED)]
    assert not rig.sent
    rig.answer(None)
    assert rig.result(number) == {}
    assert rig.close_code == 1000
    assert not rig.notifications("session.ended")
    rig.lost(1000)
    assert len(rig.calls) == 1


def test_close_of_another_session_is_refused() -> None:
    rig = Rig().open()
    assert rig.error(rig.send("session.close", sessionId="p1-99")) == ErrorCode.ILLEGAL_ARGUMENT
    assert rig.is_in(S.OPEN)


def test_close_as_the_first_message_needs_the_secret() -> None:
    rig = Rig()
    number = rig.send("session.close", sessionId="p1-01", resumeSecret=SECRET)
    assert rig.requests[0].secret_hash
    rig.answer(None)
    assert rig.result(number) == {}
    assert rig.close_code == 1000
    rig = Rig()
    number = rig.send("session.close", sessionId="p1-01", resumeSecret=SECRET)
    rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.error(number) == ErrorCode.RESUME_REFUSED
    assert rig.is_in(S.GONE)


def test_close_is_taken_while_fenced_and_while_expired() -> None:
    for state in (S.FENCED, S.EXPIRED):
        rig = rig_in(state)
        number = rig.send("session.close")
        rig.answer(None)
        assert rig.result(number) == {}


@pytest.mark.parametrize("reason", list(EndReason))
def test_an_end_is_sent_with_its_reason_and_close_code(reason: EndReason) -> None:
    rig = Rig().open()
    rig.do("ended", reason.value, "", rig.now, by=Device("d2", "Laptop"))
    (received,) = rig.notifications("session.ended")
    assert received == {
        "reason": reason.value,
        "message": TEXT_OF_REASON[reason],
        "retry": None,
        "by": {"device": {"id": "d2", "name": "Laptop"}},
    }
    assert rig.close_code == CLOSE_OF_REASON[reason]
    assert not rig.calls
    rig.lost(1000)
    assert not rig.calls


def test_a_close_by_a_wrong_secret_counts_too() -> None:
    rig = Rig()
    rig.send("session.close", sessionId="p1-01", resumeSecret=SECRET)
    rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.services.failed_resumes == ["192.0.2.1"]
