"""How a session comes to a connection: `open` and `resume`, their refusals, and connections lost meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import (
    DetachRequest,
    OpenRequest,
    Owner,
)
from greenroom.errors import (
    GreenroomError,
    ParticipantBlockedError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenInvalidError,
    TooManySessionsError,
)
from greenroom.model import (
    EndReason,
    partition_of,
    partition_of_session,
)
from tests.core.server.rig import ANNA, APP, SECRET, WALL, FakeServices, Rig, S, Token, ending, token_for

# -- hello -------------------------------------------------------------------------------------------------------------


def test_open_asks_the_engine_and_answers_with_the_session() -> None:
    rig = Rig()
    number = rig.hello(
        participant={"name": "Anna"}, device={"id": "d1", "name": "Phone"}, sdk={"name": "py", "version": "1"}
    )
    (call,) = rig.requests
    assert isinstance(call, OpenRequest)
    assert (call.app, call.participant_id, call.external_id, call.anonymous) == (APP, ANNA, "anna", False)
    assert (call.name, call.avatar_url, call.device_id, call.sdk) == ("Anna", None, "d1", "py/1")
    assert partition_of_session(call.session_id) == partition_of(APP, ANNA)
    assert call.secret_hash != SECRET.encode()
    assert len(call.secret_hash) == 32
    assert rig.is_in(S.JOINING)
    rig.join()
    result = rig.result(number)
    assert result["session"] == {
        "id": "p1-01", "generation": 1, "grace": 40.0, "expiresAt": (int(WALL) + 3600) * 1000,
        "serverTime": int(WALL) * 1000,
    }  # fmt: skip
    assert result["limits"] == {"messagesPerSecond": 50.0, "messagesBurst": 100, "maxIds": 1000}
    assert result["participant"]["id"] == ANNA
    assert result["scopes"] == ["notifications:set", "session:update"]
    assert rig.is_in(S.OPEN)


def test_nothing_said_for_ten_seconds_closes() -> None:
    rig = Rig()
    rig.pass_time(9.9)
    assert not rig.is_closed()
    rig.pass_time(0.2)
    assert rig.close_code == CloseCode.UNAUTHENTICATED
    assert rig.is_in(S.GONE)


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


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 1, "method": "session.getParticipant"},
        {"jsonrpc": "2.0", "id": 1, "method": "no.such"},
        {"jsonrpc": "2.0", "method": "session.open", "params": {}},
        {"jsonrpc": "2.0", "method": "session.resume", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "session.close"},
        {"jsonrpc": "2.0", "id": 1, "method": "session.close", "params": {"sessionId": "x"}},
        {"jsonrpc": "1.0", "id": 1, "method": "session.open"},
        [{"jsonrpc": "2.0", "id": 1, "method": "session.open"}],
        "session.open",
    ],
)
def test_anything_else_first_is_a_protocol_error(message: Any) -> None:
    rig = Rig()
    rig.raw(msgspec.json.encode(message))
    assert rig.close_code == CloseCode.PROTOCOL_ERROR
    assert rig.is_in(S.GONE)
    assert not rig.calls


def test_what_is_not_json_is_refused_and_closes_a_hello() -> None:
    rig = Rig()
    rig.raw(b"{nonsense")
    assert rig.error(None) == ErrorCode.PARSE_ERROR
    assert rig.close_code == CloseCode.PROTOCOL_ERROR


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


@pytest.mark.parametrize(
    ("params", "code", "close"),
    [
        ({"token": "bad"}, ErrorCode.TOKEN_INVALID, 4500),
        ({"token": "limited"}, ErrorCode.RATE_LIMITED, 4004),
        ({"token": "old"}, ErrorCode.TOKEN_EXPIRED, 4006),
        ({"token": 5}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"resumeSecret": "short"}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"resumeSecret": "s" * 42}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"openId": ""}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"name": "a\u202eb"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"avatarUrl": "javascript:alert(1)"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"participant": {"externalId": "bob"}}, ErrorCode.EXTERNAL_ID_MISMATCH, 4504),
        ({"device": {"id": "d" * 129}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
        ({"sdk": {"name": "x\n"}}, ErrorCode.ILLEGAL_ARGUMENT, 4505),
    ],
)
def test_what_the_node_itself_refuses(params: dict[str, Any], code: ErrorCode, close: int) -> None:
    services = FakeServices()
    services.tokens["old"] = token_for("anna", expires_at=int(WALL) - 31)
    rig = Rig(services)
    number = rig.hello(**params)
    assert rig.error(number) == code
    assert rig.close_code == close
    assert not rig.calls


def test_an_open_beyond_what_the_node_takes_says_when_to_come_back() -> None:
    services = FakeServices()
    services.full = True
    rig = Rig(services)
    number = rig.hello()
    assert rig.error(number) == ErrorCode.RATE_LIMITED
    assert rig.reply(number)["error"]["data"]["retryAfter"] == 1.0
    assert rig.close_code == CloseCode.RATE_LIMITED


# -- lost during the open (S6) -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1000, EndReason.CLOSED), (1001, 5.0), (1005, 10.0), (1006, 10.0), (4000, 10.0), (1011, 10.0)],
)
def test_a_link_lost_during_the_open_leaves_no_ghost(code: int, expected: Any) -> None:
    rig = Rig()
    rig.hello()
    rig.lost(code)
    assert rig.is_in(S.ABANDONED)
    rig.join()
    assert rig.is_in(S.GONE)
    request = rig.requests[-1]
    if isinstance(expected, EndReason):
        assert request == ending(Owner("p1-01", 1, "lease-1"), expected)
    else:
        assert request == DetachRequest(Owner("p1-01", 1, "lease-1"), expected)
    assert len(rig.calls) == 2


def test_a_link_lost_during_a_refused_open_leaves_nothing_to_do() -> None:
    rig = Rig()
    rig.hello()
    rig.lost(1006)
    rig.answer(TokenInvalidError())
    assert rig.is_in(S.GONE)
    assert len(rig.calls) == 1
    assert not rig.sent


def test_a_link_lost_during_a_resume_leaves_the_full_grace() -> None:
    rig = Rig()
    rig.resume()
    rig.lost(1006)
    rig.join(generation=2)
    assert rig.requests[-1] == DetachRequest(Owner("p1-01", 2, "lease-1"), 40.0)


# -- resumes that fail need no credentials ----------------------------------------------------------------------------


def test_a_resume_that_the_engine_refused_counts_for_its_address() -> None:
    rig = Rig()
    rig.resume()
    rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.services.failed_resumes == ["192.0.2.1"]
    rig.resume()
    rig.answer(ServiceUnavailableError())
    assert rig.services.failed_resumes == ["192.0.2.1"]


def test_a_resume_that_succeeds_counts_for_its_session() -> None:
    rig = Rig()
    rig.resume()
    rig.join(generation=2)
    assert (rig.services.resumed, rig.services.failed_resumes) == (["p1-01"], [])


def test_a_close_by_a_wrong_secret_counts_too() -> None:
    rig = Rig()
    rig.send("session.close", sessionId="p1-01", resumeSecret=SECRET)
    rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.services.failed_resumes == ["192.0.2.1"]


@pytest.mark.parametrize("method", ["session.resume", "session.close"])
def test_an_address_with_too_many_of_them_does_not_reach_the_engine(method: str) -> None:
    services = FakeServices()
    services.bad = {"192.0.2.1"}
    rig = Rig(services)
    number = rig.resume() if method == "session.resume" else rig.send(method, sessionId="p1-01", resumeSecret=SECRET)
    assert rig.error(number) == ErrorCode.RATE_LIMITED
    assert rig.close_code == CloseCode.RATE_LIMITED
    assert not rig.calls


def test_an_open_counts_for_its_application_and_participant() -> None:
    rig = Rig()
    rig.hello()
    rig.services.tokens["t"] = Token()
    anonymous = Rig(rig.services)
    anonymous.hello(token="t")
    assert rig.services.admitted == [(APP, ANNA), (APP, "jti-1 192.0.2.1")]


def test_refusals_are_reported_with_their_reason() -> None:
    rig = Rig()
    rig.hello(token="bad")
    assert rig.refusals == [("Invalid_token", False)]
    rig = Rig()
    rig.resume()
    rig.answer(SessionEndedError(code=ErrorCode.STATE_LOST))
    assert rig.refusals == [("state_lost", True)]


# -- null is absent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nulls",
    [
        {"device": None}, {"sdk": None}, {"participant": None}, {"participant": {"ifNew": None, "name": "A"}},
        {"sdk": {"name": None, "version": "1"}}, {"device": {"id": None}},
    ],
)  # fmt: skip
def test_null_is_absent_in_an_open(nulls: dict[str, Any]) -> None:
    """What users ran into: `device: null` was refused while `name: null` was taken."""
    rig = Rig()
    rig.hello(**nulls)
    assert rig.is_in(S.JOINING), rig.sent
    rig = Rig()
    assert rig.error(rig.hello(token=None)) == ErrorCode.ILLEGAL_ARGUMENT


@pytest.mark.parametrize("method", ["ping", "session.getParticipant", "participants.get", "session.close"])
def test_params_that_are_null_are_absent(method: str) -> None:
    """What users ran into: `params: null` was taken for ping and refused for session.close."""
    rig = Rig().open()
    rig.raw(msgspec.json.encode({"jsonrpc": "2.0", "id": 77, "method": method, "params": None}))
    assert rig.calls or rig.result(77) == {}
