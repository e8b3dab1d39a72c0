"""ServerSession in virtual time: each rule of the service's side of a connection."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.server import ServerSession
from greenroom.core.server.calls import (
    Abort,
    CloseBySecret,
    DetachSession,
    EndSession,
    Joined,
    Now,
    OpenSession,
    Owned,
    ReadParticipants,
    RefreshSession,
    ResumeSession,
    UnwatchParticipants,
    UpdateProfile,
    WatchParticipants,
)
from greenroom.core.server.endings import CLOSE_OF_REASON, TEXT_OF_REASON
from greenroom.core.states import SERVER_TRANSITIONS, ServerEvent, ServerState, step
from greenroom.core.watching import tell, to_wire
from greenroom.errors import (
    GreenroomError,
    ParticipantBlockedError,
    RevisionConflictError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenInvalidError,
    TooManySessionsError,
)
from greenroom.messages import Device
from greenroom.model import (
    EndReason,
    Presence,
    SessionPolicy,
    anonymous_participant_id,
    participant_id_of,
    partition_of,
    partition_of_session,
)
from tests.core.server_rig import (
    APP,
    NAMESPACE,
    OPEN_ID,
    SECRET,
    WALL,
    FakeHouse,
    Policy,
    Rig,
    Token,
    person,
    token_for,
)

S, C = ServerState, ServerEvent
ANNA = participant_id_of(NAMESPACE, "anna")
BOB = participant_id_of(NAMESPACE, "bob")


# -- the table --------------------------------------------------------------------------------------------------------


def rig_in(state: ServerState) -> Rig:
    """A machine that came to this state by inputs."""
    rig = Rig()
    if state is S.HELLO:
        return rig
    if state in (S.JOINING, S.ABANDONED):
        rig.hello()
        if state is S.ABANDONED:
            rig.lost(1006)
        return rig
    rig.open()
    if state is S.FENCED:
        rig.do("fence", rig.now)
    elif state is S.EXPIRED:
        rig.wall += 3600
        rig.do("tick", rig.now)
    elif state is S.ENDING:
        rig.send("session.close")
    elif state is S.GONE:
        rig.lost(1006)
    return rig


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("event", list(C))
def test_every_state_and_event_is_in_the_table_or_changes_nothing(state: ServerState, event: ServerEvent) -> None:
    rig = rig_in(state)
    assert rig.is_in(state)
    expected = step(SERVER_TRANSITIONS, state, event)
    assert rig.machine._step(event) is (expected is not None)
    assert rig.is_in(state if expected is None else expected)


def test_every_state_is_reachable_and_gone_is_final() -> None:
    assert {S.HELLO} | set(SERVER_TRANSITIONS.values()) == set(S)
    assert not [pair for pair in SERVER_TRANSITIONS if pair[0] is S.GONE]
    assert {pair[0] for pair in SERVER_TRANSITIONS} == set(S) - {S.GONE}


# -- hello ------------------------------------------------------------------------------------------------------------


def test_open_asks_the_engine_and_answers_with_the_session() -> None:
    rig = Rig()
    number = rig.hello(
        participant={"name": "Anna"}, device={"id": "d1", "name": "Phone"}, sdk={"name": "py", "version": "1"}
    )
    (call,) = rig.requests
    assert isinstance(call, OpenSession)
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
    }  # fmt: skip
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


def test_what_is_not_json_is_told_and_closes_a_hello() -> None:
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
    house = FakeHouse()
    house.tokens["old"] = token_for("anna", expires_at=int(WALL) - 31)
    rig = Rig(house)
    number = rig.hello(**params)
    assert rig.error(number) == code
    assert rig.close_code == close
    assert not rig.calls


def test_an_open_beyond_what_the_node_takes_says_when_to_come_back() -> None:
    house = FakeHouse()
    house.full = True
    rig = Rig(house)
    number = rig.hello()
    assert rig.error(number) == ErrorCode.RATE_LIMITED
    assert rig.reply(number)["error"]["data"]["retryAfter"] == 1.0
    assert rig.close_code == CloseCode.RATE_LIMITED


# -- who somebody is (platform.md, external id) --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "given", "allowed", "expected"),
    [
        (token_for("anna"), None, False, (ANNA, "anna")),
        (token_for("anna"), "", False, (ANNA, "anna")),
        (token_for("anna"), "anna", False, (ANNA, "anna")),
        (token_for("anna"), "bob", False, ErrorCode.EXTERNAL_ID_MISMATCH),
        (Token(version=1), "bob", False, (BOB, "bob")),
        (Token(version=2), "bob", False, ErrorCode.EXTERNAL_ID_MISMATCH),
        (Token(version=2), "bob", True, (BOB, "bob")),
        (Token(version=1), "bo\x00b", False, ErrorCode.ILLEGAL_ARGUMENT),
        (Token(), None, False, (anonymous_participant_id(NAMESPACE, OPEN_ID), None)),
        (Token(), "", False, (anonymous_participant_id(NAMESPACE, OPEN_ID), None)),
    ],
)
def test_external_ids(token: Token, given: str | None, allowed: bool, expected: Any) -> None:
    house = FakeHouse()
    house.tokens["t"] = token
    house.settings(allow_external_id_from_client=allowed)
    rig = Rig(house)
    number = rig.hello(token="t", participant={} if given is None else {"externalId": given})
    if isinstance(expected, ErrorCode):
        assert rig.error(number) == expected
    else:
        (call,) = rig.requests
        assert (call.participant_id, call.external_id) == expected
        assert call.anonymous is (expected[1] is None)


def test_an_external_id_in_another_unicode_form_is_told_so() -> None:
    house = FakeHouse()
    house.tokens["t"] = token_for("caf\u00e9")
    rig = Rig(house)
    number = rig.hello(token="t", participant={"externalId": "cafe\u0301"})
    assert rig.error(number) == ErrorCode.EXTERNAL_ID_MISMATCH
    assert "Unicode" in rig.reply(number)["error"]["message"]


def test_a_token_narrows_the_policy_and_never_widens_it() -> None:
    house = FakeHouse()
    house.settings(policy=SessionPolicy(max_sessions=5, when_full="reject"))
    house.tokens["t"] = token_for(
        "anna", policy=Policy(max_sessions=9, when_full="replace_oldest", same_device="allow")
    )
    rig = Rig(house)
    rig.hello(token="t")
    assert rig.requests[0].policy == SessionPolicy(max_sessions=5, when_full="replace_oldest", same_device="allow")


@pytest.mark.parametrize(
    ("origin", "allowed", "good"),
    [
        (None, ("https://a.example",), True),
        ("https://a.example", ("https://a.example",), True),
        ("https://b.example", ("https://a.example",), False),
        ("https://b.example", (), True),
        ("null", ("https://a.example",), False),
    ],
)
def test_the_origin_is_checked_at_open(origin: str | None, allowed: tuple[str, ...], good: bool) -> None:
    house = FakeHouse()
    house.settings(allowed_origins=allowed)
    rig = Rig(house, origin=origin)
    number = rig.hello()
    if good:
        assert rig.is_in(S.JOINING)
    else:
        assert rig.error(number) == ErrorCode.ORIGIN_NOT_ALLOWED
        assert rig.close_code == CloseCode.UNAUTHENTICATED


def test_a_disabled_application_and_a_revoked_token_are_refused() -> None:
    house = FakeHouse()
    house.change(disabled=True)
    rig = Rig(house)
    assert rig.error(rig.hello()) == ErrorCode.APPLICATION_DISABLED
    house.change(disabled=False, revoked_before=int(WALL))
    rig = Rig(house)
    assert rig.error(rig.hello()) == ErrorCode.TOKEN_REVOKED
    house.applications.clear()
    rig = Rig(house)
    assert rig.error(rig.hello()) == ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(("setting", "scopes", "may"), [
    ("any", (), True), ("scope", (), False), ("scope", ("session:update",), True), ("scope", ("*",), True),
])  # fmt: skip
def test_open_profile(setting: str, scopes: tuple[str, ...], may: bool) -> None:
    house = FakeHouse()
    house.settings(open_profile=setting)
    house.tokens["t"] = token_for("anna", scopes=scopes)
    rig = Rig(house)
    rig.hello(token="t")
    assert rig.requests[0].may_change_profile is may


# -- lost during the open (S6) ----------------------------------------------------------------------------------------


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
        assert request == EndSession(Owned("p1-01", 1, "lease-1"), expected)
    else:
        assert request == DetachSession(Owned("p1-01", 1, "lease-1"), expected)
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
    assert rig.requests[-1] == DetachSession(Owned("p1-01", 2, "lease-1"), 40.0)


# -- lost when open ---------------------------------------------------------------------------------------------------


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
    owner = Owned("p1-01", 1, "lease-1")
    wanted = EndSession(owner, EndReason.CLOSED) if expected is None else DetachSession(owner, expected)
    assert rig.requests == [wanted]


def test_until_the_client_has_said_anything_after_the_reply_it_is_ten_seconds() -> None:
    rig = Rig()
    rig.hello()
    rig.send("ping")  # before the reply: says nothing about it
    rig.join()
    rig.lost(1006)
    assert rig.requests[-1] == DetachSession(rig.owner, 10.0)
    rig = Rig()
    rig.hello()
    rig.join()
    rig.send("ping")
    rig.lost(1006)
    assert rig.requests[-1] == DetachSession(rig.owner, 40.0)


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


# -- close ------------------------------------------------------------------------------------------------------------


def test_close_ends_the_session_then_the_connection() -> None:
    rig = Rig().open()
    number = rig.send("session.close")
    assert rig.requests == [EndSession(rig.owner, EndReason.CLOSED)]
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
    assert isinstance(rig.requests[0], CloseBySecret)
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


# -- requests (S19) ---------------------------------------------------------------------------------------------------


def test_requests_are_carried_out_one_at_a_time_and_answered_in_order() -> None:
    rig = Rig().open()
    numbers = [rig.send("session.getParticipant") for _ in range(5)]
    for count in range(1, 6):
        assert len(rig.calls) == count
        rig.answer([person(ANNA, 6)])
    replies = [message["id"] for message in rig.sent]
    assert replies == numbers


def test_ping_is_answered_at_once_whatever_waits() -> None:
    rig = Rig().open()
    first = rig.send("session.getParticipant")
    ping = rig.send("ping")
    assert [message["id"] for message in rig.sent] == [ping]
    rig.answer([person(ANNA, 6)])
    assert rig.result(first)["participant"]["id"] == ANNA


def test_at_most_32_wait() -> None:
    rig = Rig().open()
    numbers = [rig.send("session.getParticipant") for _ in range(34)]
    assert rig.error(numbers[-1]) == ErrorCode.RATE_LIMITED
    assert len(rig.sent) == 1
    for _ in range(33):
        rig.answer([person(ANNA, 6)])
    assert [message["id"] for message in rig.sent[1:]] == numbers[:33]


def test_requests_sent_with_the_open_wait_for_it() -> None:
    rig = Rig()
    first = rig.hello()
    second = rig.send("session.getParticipant")
    rig.join()
    assert rig.result(first)
    rig.answer([person(ANNA, 6)])
    assert [message["id"] for message in rig.sent] == [first, second]


def test_requests_sent_with_a_resume_that_fails_are_refused() -> None:
    rig = Rig()
    rig.resume()
    second = rig.send("session.getParticipant")
    rig.answer(SessionEndedError(code=ErrorCode.STATE_LOST))
    assert rig.error(second) == ErrorCode.SESSION_NOT_OPEN
    assert rig.is_in(S.HELLO)


def test_batches_unknown_methods_and_malformed_requests_are_answered_and_harmless() -> None:
    rig = Rig().open()
    rig.raw(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]')
    assert rig.error(None) == ErrorCode.INVALID_REQUEST
    rig.sent.clear()
    rig.raw(b"\xff")
    assert rig.error(None) == ErrorCode.PARSE_ERROR
    rig.sent.clear()
    rig.raw(b'{"jsonrpc":"2.0","id":1}')
    assert rig.error(None) == ErrorCode.INVALID_REQUEST
    assert rig.error(rig.send("no.such")) == ErrorCode.METHOD_NOT_FOUND
    assert rig.error(rig.send("session.open", token="anna")) == ErrorCode.CONFLICT
    assert rig.error(rig.send("session.updateParticipantInfo", updateId=5)) == ErrorCode.ILLEGAL_ARGUMENT
    assert rig.is_in(S.OPEN)


def test_a_request_without_id_gets_no_reply_and_a_response_is_ignored() -> None:
    rig = Rig().open()
    rig.send("no.such", notify=True)
    rig.send("ping", notify=True)
    rig.raw(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    rig.raw(b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}')
    assert not rig.sent
    rig.send("session.updateParticipantInfo", notify=True, updateId="u", name="A")
    rig.answer(person(ANNA, 9))
    assert not rig.sent
    assert rig.is_in(S.OPEN)


@pytest.mark.parametrize("number", ["a" * 64, "", 0, -1, 2**60])
def test_ids_are_integers_or_short_strings(number: Any) -> None:
    rig = Rig().open()
    rig.raw(msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": "ping"}))
    assert rig.result(number) == {}


def test_of_a_member_that_stands_twice_the_last_counts() -> None:
    rig = Rig().open()
    rig.raw(b'{"jsonrpc":"2.0","id":1,"id":7,"method":"session.close","method":"ping"}')
    assert rig.result(7) == {}
    assert not rig.is_closed()


def test_more_than_the_messages_allowed_closes() -> None:
    rig = Rig().open()
    for _ in range(98):
        rig.send("ping")
    assert not rig.is_closed()
    rig.send("ping")
    assert rig.close_code == CloseCode.RATE_LIMITED
    assert rig.requests == [DetachSession(rig.owner, 40.0)]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 4004])
def test_promise_10_who_is_cut_off_is_counted_by_participant_and_session(code: int) -> None:
    house = FakeHouse()
    rig = Rig(house).open()
    assert rig.machine.owner is not None
    rig.machine.lost(code, rig.now)
    assert house.cut_offs == [rig.machine.owner.session_id, rig.machine.participant_id]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 4002])
def test_whose_line_broke_or_is_slow_is_not_cut_off(code: int) -> None:
    house = FakeHouse()
    rig = Rig(house).open()
    rig.machine.lost(code, rig.now)
    assert house.cut_offs == []


def test_who_was_cut_off_too_often_has_to_wait() -> None:
    house = FakeHouse()
    first = Rig(house).open()
    assert first.machine.owner is not None
    house.bad = {first.machine.participant_id}
    rig = Rig(house)
    assert rig.error(rig.hello()) == ErrorCode.RATE_LIMITED
    assert rig.close_code == CloseCode.RATE_LIMITED
    house.bad = {first.machine.owner.session_id}
    rig = Rig(house)
    assert rig.error(rig.resume(sessionId=first.machine.owner.session_id)) == ErrorCode.RATE_LIMITED


def test_fifty_messages_a_second_may_go_on_for_ever() -> None:
    rig = Rig().open()
    for _ in range(600):
        rig.send("ping")
        rig.mono += 0.02
    assert not rig.is_closed()


# -- profile ----------------------------------------------------------------------------------------------------------


def test_an_update_carries_its_id_and_its_right() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="Ann\u0061\u0308", ifRevision=3)
    (call,) = rig.requests
    assert call == UpdateProfile(
        owner=rig.owner, app=APP, participant_id=ANNA, update_id="u1", name="Ann\u00e4", avatar_url=None, if_revision=3
    )
    rig.answer(person(ANNA, 9, name="Annä", revision=4))
    assert rig.result(number)["participant"]["revision"] == 4


def test_an_update_without_scope_names_it() -> None:
    rig = Rig().open(scopes=("notifications:set",))
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="A")
    assert rig.error(number) == ErrorCode.SCOPE_MISSING
    assert rig.reply(number)["error"]["data"]["scope"] == "session:update"


def test_a_revision_conflict_carries_the_record() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="A", ifRevision=1)
    record = person(ANNA, 9, name="Anna", avatar_url="/a.png", revision=4)
    rig.answer(RevisionConflictError(participant=record))
    told = rig.reply(number)["error"]["data"]["participant"]
    assert told == json.loads(msgspec.json.encode(to_wire(record)))
    assert (told["avatarUrl"], "app" in told, "shown" in told) == ("/a.png", False, False)


# -- heartbeat --------------------------------------------------------------------------------------------------------


def test_a_client_that_vanished_is_found_within_25_seconds() -> None:
    rig = Rig().open()
    rig.pass_time(15)
    assert rig.pings == 1
    rig.pass_time(7.9)
    assert rig.is_in(S.OPEN)
    rig.pass_time(0.2)
    assert rig.is_in(S.GONE)
    assert rig.others == [Abort()]
    assert rig.requests == [DetachSession(rig.owner, 40.0)]
    assert rig.machine.deadline(rig.now) == float("inf")


def test_a_client_that_answers_pings_stays() -> None:
    rig = Rig().open()
    rig.pass_alive(120)
    assert rig.is_in(S.OPEN)
    assert rig.pings == 8


def test_what_else_comes_in_is_no_pong() -> None:
    """A half-open link in the other direction only: the client's messages come, ours are lost."""
    rig = Rig().open()
    for _ in range(30):
        rig.pass_time(1)
        rig.send("ping")
    assert rig.is_in(S.GONE)


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_token_expiring_is_told_once_60_seconds_ahead() -> None:
    rig = Rig().open()
    rig.pass_alive(3539)
    assert not rig.notifications("session.tokenExpiring")
    rig.pass_alive(2)
    assert rig.notifications("session.tokenExpiring") == [{"expiresAt": (int(WALL) + 3600) * 1000}]
    rig.pass_alive(50)
    assert len(rig.notifications("session.tokenExpiring")) == 1


def test_a_short_token_is_not_said_to_expire_before_the_last_quarter_of_its_life() -> None:
    rig = Rig().open(token_expires_at=int(WALL) + 40)
    rig.pass_alive(29)
    assert not rig.notifications("session.tokenExpiring")
    rig.pass_alive(2)
    assert len(rig.notifications("session.tokenExpiring")) == 1


def test_an_expired_session_serves_only_refresh_close_and_ping_then_ends() -> None:
    rig = Rig().open()
    rig.pass_alive(3601)
    assert rig.is_in(S.EXPIRED)
    assert rig.error(rig.send("session.getParticipant")) == ErrorCode.TOKEN_EXPIRED
    assert rig.result(rig.send("ping")) == {}
    rig.pass_alive(30)
    assert rig.is_in(S.ENDING)
    assert rig.requests == [EndSession(rig.owner, EndReason.TOKEN_EXPIRED, TEXT_OF_REASON[EndReason.TOKEN_EXPIRED])]
    rig.answer(None)
    assert rig.notifications("session.ended")[0]["reason"] == "token_expired"
    assert rig.close_code == CloseCode.TOKEN_EXPIRED


def test_a_refresh_brings_an_expired_session_back() -> None:
    rig = Rig().open()
    rig.house.tokens["new"] = token_for("anna", expires_at=int(WALL) + 9000, scopes=("session:update",))
    rig.pass_alive(3610)
    number = rig.send("session.refreshToken", token="new")
    assert isinstance(rig.requests[-1], RefreshSession)
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
    rig.house.tokens["new"] = token_for("anna", scopes=())
    rig.send("session.refreshToken", token="new")
    rig.answer(None)
    assert rig.requests[-1] == UnwatchParticipants(APP, (BOB,))
    assert rig.machine.watches.ids == (ANNA,)
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
    house = FakeHouse()
    house.applications["app-2"] = msgspec.structs.replace(house.applications[APP], key="app-2")
    house.tokens["new"] = token
    rig = Rig(house).open()
    number = rig.send("session.refreshToken", token="new")
    if good:
        assert isinstance(rig.requests[-1], RefreshSession)
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
    assert rig.machine.expires_at == int(WALL) + 3600


def test_a_resume_after_the_tokens_end_gets_time_to_refresh() -> None:
    rig = Rig()
    rig.wall += 4000
    number = rig.resume()
    rig.join(generation=2)
    rig.answer([person(ANNA, 9)])
    assert rig.result(number)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(29)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(2)
    assert rig.is_in(S.ENDING)


def test_a_wall_clock_set_back_postpones_the_end_and_one_set_forward_is_seen_at_the_next_heartbeat() -> None:
    rig = Rig().open()
    rig.wall -= 7200
    rig.pass_alive(3700)
    assert rig.is_in(S.OPEN)
    rig.wall += 7200
    rig.pass_alive(16)
    assert rig.is_in(S.EXPIRED)


# -- resume and watching ----------------------------------------------------------------------------------------------


def test_a_resume_reads_before_it_is_answered_and_tells_what_differs() -> None:
    carol = participant_id_of(NAMESPACE, "carol")
    rig = Rig()
    number = rig.resume(watching=[[BOB, 3], [carol, 4]], token="anna")
    call = rig.requests[0]
    assert isinstance(call, ResumeSession)
    assert (call.session_id, call.attempt) == ("p1-01", 1)
    rig.join(generation=2)
    assert rig.requests[1] == WatchParticipants(APP, (ANNA, BOB, carol))
    rig.machine.watches.take(tell(person(BOB, 8)))  # changed while it was read
    rig.answer([person(ANNA, 9, name="New"), person(BOB, 7), person(carol, 4)])
    result = rig.result(number)
    assert result["participant"]["version"] == 9
    assert [one["id"] for one in result["changed"]] == [BOB]
    rig.do("drained", rig.now)
    (told,) = rig.notifications("participants.changed")
    assert [(one["id"], one["version"]) for one in told["participants"]] == [(BOB, 8)]
    assert set(rig.machine.watches.ids) == {ANNA, BOB, carol}


def test_a_resume_without_the_scope_watches_only_itself() -> None:
    rig = Rig()
    rig.resume(watching=[[BOB, 3]])
    rig.join(generation=2, scopes=())
    assert rig.requests[1] == WatchParticipants(APP, (ANNA,))


def test_a_resume_with_somebody_elses_token_is_parted_from_the_session() -> None:
    house = FakeHouse()
    house.tokens["anonymous"] = Token()
    rig = Rig(house)
    number = rig.resume(token="anonymous")
    rig.join(generation=2)
    assert rig.error(number) == ErrorCode.TOKEN_MISMATCH
    assert rig.close_code == CloseCode.IDENTITY_MISMATCH
    assert rig.requests[-1] == DetachSession(rig.owner, 40.0)


def test_a_resume_whose_read_fails_is_retryable_and_keeps_the_session() -> None:
    rig = Rig()
    number = rig.resume(watching=[[BOB, 3]])
    rig.join(generation=2)
    rig.answer(ServiceUnavailableError())
    assert rig.error(number) == ErrorCode.SERVICE_UNAVAILABLE
    assert rig.requests[-1] == DetachSession(rig.owner, 40.0)
    assert rig.close_code == CloseCode.OVER_CAPACITY


def test_a_long_changed_goes_on_in_pieces() -> None:
    people = [person(participant_id_of(NAMESPACE, str(i)), 9, name="x" * 250, avatar_url="https://a/" + "y" * 1900)
              for i in range(256)]  # fmt: skip
    rig = Rig()
    number = rig.resume(watching=[[one.id, 1] for one in people])
    rig.join(generation=2)
    rig.answer([person(ANNA, 9), *people])
    told = {one["id"] for one in rig.result(number)["changed"]}
    assert 0 < len(told) < 256
    while rig.machine.watches.waiting:
        rig.do("drained", rig.now)
    for piece in rig.notifications("participants.changed"):
        assert len(msgspec.json.encode(piece)) <= 65_536
        told |= {one["id"] for one in piece["participants"]}
    assert told == {one.id for one in people}


def test_more_pairs_than_a_resume_may_carry_are_refused() -> None:
    rig = Rig()
    number = rig.resume(watching=[[f"{i}", 1] for i in range(257)])
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT


def test_watch_replies_before_it_notifies() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=[BOB], externalIds=["carol"])
    carol = participant_id_of(NAMESPACE, "carol")
    assert rig.requests == [WatchParticipants(APP, (BOB, carol))]
    rig.machine.watches.take(tell(person(BOB, 7)))
    rig.do("drained", rig.now)
    assert not rig.sent
    rig.answer([person(BOB, 6), person(carol, 0, presence=Presence.OFFLINE)])
    assert [one["version"] for one in rig.result(number)["participants"]] == [6, 0]
    rig.do("drained", rig.now)
    assert [one["version"] for one in rig.notifications("participants.changed")[0]["participants"]] == [7]


def test_of_known_only_what_differs_is_in_the_reply() -> None:
    rig = Rig().open()
    carol = participant_id_of(NAMESPACE, "carol")
    number = rig.send("participants.watch", known=[[BOB, 6], [carol, 6]])
    rig.answer([person(BOB, 6), person(carol, 7)])
    assert [one["id"] for one in rig.result(number)["participants"]] == [carol]


def test_a_failed_watch_watches_nobody() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=[BOB])
    rig.answer(ServiceUnavailableError())
    assert rig.error(number) == ErrorCode.SERVICE_UNAVAILABLE
    assert rig.machine.watches.ids == (ANNA,)
    assert rig.requests[-1] == UnwatchParticipants(APP, (BOB,))


def test_the_watch_limit_counts_all_but_oneself() -> None:
    house = FakeHouse()
    house.settings(max_watched=2)
    rig = Rig(house).open()
    number = rig.send("participants.watch", ids=[BOB, "c", "d"])
    assert rig.error(number) == ErrorCode.WATCH_LIMIT_REACHED
    number = rig.send("participants.watch", ids=[ANNA, BOB, "c"])
    rig.answer([person(one, 1) for one in (ANNA, BOB, "c")])
    assert len(rig.result(number)["participants"]) == 3
    rig.send("participants.unwatch", ids=[BOB, ANNA])
    assert rig.requests[-1] == UnwatchParticipants(APP, (BOB,))
    rig.answer(None)
    assert set(rig.machine.watches.ids) == {ANNA, "c"}


def test_an_answer_too_large_to_write_is_refused_and_says_so() -> None:
    rig = Rig().open()
    number = rig.send("participants.get", ids=[BOB, "c"])
    assert rig.requests == [ReadParticipants(APP, (BOB, "c"))]
    rig.answer([person("x" * 40, 1, avatar_url="y" * 120_000)] * 2)
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT
    assert "fewer" in rig.reply(number)["error"]["data"]["hint"]


# -- ended elsewhere --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(EndReason))
def test_an_end_is_told_with_its_reason_and_close_code(reason: EndReason) -> None:
    rig = Rig().open()
    rig.do("ended", reason.value, "", rig.now, by=Device("d2", "Laptop"))
    (told,) = rig.notifications("session.ended")
    assert told == {
        "reason": reason.value,
        "message": TEXT_OF_REASON[reason],
        "retry": None,
        "by": {"device": {"id": "d2", "name": "Laptop"}},
    }
    assert rig.close_code == CLOSE_OF_REASON[reason]
    assert not rig.calls
    rig.lost(1000)
    assert not rig.calls


def test_a_disabled_application_ends_its_sessions() -> None:
    rig = Rig().open()
    rig.house.change(disabled=True)
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1].reason is EndReason.APPLICATION_DISABLED
    rig.answer(None)
    assert rig.close_code == CloseCode.APPLICATION_DISABLED


def test_a_cut_off_of_the_application_ends_sessions_of_older_tokens_only() -> None:
    rig = Rig().open()
    rig.house.change(revoked_before=int(WALL) - 1)
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)
    rig.house.change(revoked_before=int(WALL))
    rig.do("directory_changed", rig.now)
    assert rig.requests[-1].reason is EndReason.TOKEN_REVOKED


def test_a_missing_application_is_not_read_as_deleted() -> None:
    rig = Rig().open()
    rig.house.applications.clear()
    rig.do("directory_changed", rig.now)
    assert rig.is_in(S.OPEN)


# -- the fence (S9) ---------------------------------------------------------------------------------------------------


def test_a_fenced_session_answers_retryably_and_is_asked_to_move_once() -> None:
    rig = Rig().open()
    rig.do("fence", rig.now)
    rig.do("fence", rig.now)
    (told,) = rig.notifications("session.moveOn")
    assert (told["after"], told["jitter"]) == (0.0, 10.0)
    assert rig.error(rig.send("session.getParticipant")) == ErrorCode.FENCED
    assert rig.result(rig.send("ping")) == {}
    rig.do("unfence", rig.now)
    assert len(rig.notifications("session.stay")) == 1
    assert rig.is_in(S.OPEN)


def test_move_on_is_sent_at_most_once_a_minute() -> None:
    rig = Rig().open()
    for _ in range(5):
        rig.do("fence", rig.now)
        rig.do("unfence", rig.now)
        rig.pass_alive(10)
    assert len(rig.notifications("session.moveOn")) == 1
    assert len(rig.notifications("session.stay")) == 1
    rig.pass_alive(20)
    rig.do("fence", rig.now)
    assert len(rig.notifications("session.moveOn")) == 2


def test_a_session_taken_back_writes_by_its_new_right() -> None:
    rig = Rig().open()
    rig.do("fence", rig.now)
    rig.do("unfence", rig.now, Owned("p1-01", 2, "lease-2"))
    rig.lost(1006)
    assert rig.requests[-1] == DetachSession(Owned("p1-01", 2, "lease-2"), 40.0)


def test_a_call_refused_because_the_node_took_its_session_back_is_retryable() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u", name="A")
    rig.do("fence", rig.now)
    rig.do("unfence", rig.now, Owned("p1-01", 2, "lease-2"))
    rig.answer(SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED))
    assert rig.error(number) == ErrorCode.FENCED


def test_a_token_that_ended_while_fenced_counts_when_the_fence_is_gone() -> None:
    rig = Rig().open()
    rig.do("fence", rig.now)
    rig.pass_alive(3700)
    assert rig.is_in(S.FENCED)
    rig.do("unfence", rig.now)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(29)
    assert rig.is_in(S.EXPIRED)
    rig.pass_alive(2)
    assert rig.is_in(S.ENDING)


# -- the drain (S10) --------------------------------------------------------------------------------------------------


def test_leaving_detaches_with_the_full_grace_and_says_when_to_come_back() -> None:
    rig = Rig()
    rig.hello()
    rig.join()  # not confirmed: the node's stop is not the client's fault
    rig.do("leave", 3.0, 10.0, rig.now)
    assert rig.close_code == CloseCode.DRAINING
    assert rig.closed is not None
    assert msgspec.json.decode(rig.closed.reason) == {"after": 3.0, "jitter": 10.0}
    assert len(rig.closed.reason.encode()) <= 123
    assert rig.requests[-1] == DetachSession(rig.owner, 40.0)


def test_leaving_in_the_middle_of_an_open_detaches_what_comes_of_it() -> None:
    rig = Rig()
    rig.hello()
    rig.do("leave", 3.0, 10.0, rig.now)
    assert rig.is_in(S.ABANDONED)
    rig.join()
    assert rig.requests[-1] == DetachSession(Owned("p1-01", 1, "lease-1"), 40.0)


# -- numbers, and anything in any order -------------------------------------------------------------------------------


def test_a_late_answer_dies_by_its_number() -> None:
    rig = Rig().open()
    rig.send("session.getParticipant")
    late = rig.calls[-1].number
    rig.answer([person(ANNA, 6)])
    rig.sent.clear()
    rig.answer([person(ANNA, 7)], late)
    rig.answer(Joined(rig.record(), person(ANNA, 7)), 1)
    rig.answer(None, 999)
    assert not rig.sent
    assert rig.is_in(S.OPEN)


def _random_input(rig: Rig, dice: random.Random) -> None:
    roll = dice.randrange(16)
    machine = rig.machine
    if roll < 4:
        method = dice.choice([
            "session.open", "session.resume", "session.close", "session.refreshToken", "session.getParticipant",
            "session.updateParticipantInfo", "participants.watch", "participants.unwatch", "participants.get", "ping",
        ])  # fmt: skip
        params: dict[str, Any] = dice.choice([
            {}, {"token": "anna", "openId": OPEN_ID, "resumeSecret": SECRET}, {"ids": [BOB]}, {"token": "bad"},
            {"sessionId": "p1-01", "resumeSecret": SECRET, "nextSecret": SECRET, "attempt": 1, "watching": [[BOB, 1]]},
            {"updateId": "u", "name": "N"}, {"known": [[BOB, 2]]}, {"sessionId": 5},
        ])  # fmt: skip
        rig.send(method, notify=dice.random() < 0.1, **params)
    elif roll < 8 and rig.calls:
        call = dice.choice(rig.calls[-3:])
        results: list[Any] = [
            None, Joined(rig.record(dice.randrange(1, 5)), person(ANNA, 5)), [person(ANNA, 6), person(BOB, 6)],
            person(ANNA, 7), ServiceUnavailableError(), SessionEndedError(), TokenInvalidError(),
        ]  # fmt: skip
        if dice.random() < 0.7:
            results = [_fitting(call.request, rig)]
        machine.answer(call.number, dice.choice(results), rig.now)
    elif roll == 8:
        machine.lost(dice.choice([1000, 1001, 1005, 1006, 4002]), rig.now)
    elif roll == 9:
        machine.fence(rig.now)
    elif roll == 10:
        machine.unfence(rig.now, dice.choice([None, Owned("p1-01", 9, "l")]))
    elif roll == 11:
        machine.ended(dice.choice(["kicked", "brand_new", "timeout"]), "", rig.now)
    elif roll == 12:
        machine.superseded(dice.randrange(4), rig.now)
    elif roll == 13:
        acts: list[Callable[[], None]] = [
            lambda: machine.leave(1, 2, rig.now), lambda: machine.move_on(0, 1, rig.now),
            lambda: machine.end(EndReason.PROTOCOL_ERROR, "", rig.now), lambda: machine.directory_changed(rig.now),
            lambda: machine.drained(rig.now), lambda: machine.pong(rig.now),
        ]  # fmt: skip
        dice.choice(acts)()
    elif roll == 14:
        machine.watches.take(tell(person(BOB, dice.randrange(20))))
    else:
        rig.pass_time(dice.choice([0.1, 5, 16, 4000]))
    rig.pump()


def _fitting(request: Any, rig: Rig) -> Any:
    if isinstance(request, OpenSession | ResumeSession):
        return Joined(rig.record(), person(ANNA, 5))
    if isinstance(request, ReadParticipants | WatchParticipants):
        return [person(one, 6) for one in request.ids]
    return person(ANNA, 7) if isinstance(request, UpdateProfile) else None


@pytest.mark.parametrize("seed", range(300))
def test_random_walks_never_raise_and_never_leave_a_ghost(seed: int) -> None:
    """The seed is in the test's name. Whatever comes in whatever order: no input raises, a machine that is gone sends
    nothing, and a session that was joined is ended or detached exactly once, unless it was ended or moved elsewhere."""
    dice = random.Random(seed)
    rig = Rig()
    was_gone = False
    for _ in range(60):
        before = len(rig.sent)
        _random_input(rig, dice)
        if was_gone:
            assert len(rig.sent) == before
        was_gone = rig.is_in(S.GONE)
    duties = [one for one in rig.requests if isinstance(one, EndSession | DetachSession)]
    assert len(duties) <= 1
    ids = [message["id"] for message in rig.sent if message.get("id") is not None]
    assert len(ids) == len(set(ids)), "a request was answered twice"


def test_versions_told_never_go_back() -> None:
    for seed in range(50):
        dice = random.Random(seed)
        rig = Rig().open()
        rig.send("participants.watch", ids=[BOB])
        rig.answer([person(BOB, 10)])
        for _ in range(40):
            rig.machine.watches.take(tell(person(BOB, dice.randrange(40))))
            if dice.random() < 0.5:
                rig.do("drained", rig.now)
        told = [
            one["version"] for params in rig.notifications("participants.changed") for one in params["participants"]
        ]
        assert all(earlier < later for earlier, later in pairwise([10, *told])), f"seed {seed}"


def test_the_clock_is_only_what_it_is_given() -> None:
    machine = ServerSession(FakeHouse(), Now(0.0, 0.0))
    assert machine.deadline(Now(0.0, 0.0)) == 10.0
