"""ServerSession in virtual time: states, requests, the fence, the drain, and anything in any order."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import (
    AttachRequest,
    DetachRequest,
    EndRequest,
    OpenRequest,
    Owner,
    ParticipantQuery,
    UpdateRequest,
    WatchRequest,
)
from greenroom.core.server import ServerSession
from greenroom.core.server.services import Now
from greenroom.core.states import SERVER_TRANSITIONS, ServerEvent, ServerState, step
from greenroom.core.watching import encode_update
from greenroom.errors import ServiceUnavailableError, SessionEndedError, TokenInvalidError
from tests.core.server.rig import ANNA, BOB, OPEN_ID, SECRET, C, FakeServices, Rig, S, person, rig_in

# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("event", list(C))
def test_every_state_and_event_is_in_the_table_or_changes_nothing(state: ServerState, event: ServerEvent) -> None:
    rig = rig_in(state)
    assert rig.is_in(state)
    expected = step(SERVER_TRANSITIONS, state, event)
    assert rig.machine.context.step(event) is (expected is not None)
    assert rig.is_in(state if expected is None else expected)


def test_every_state_is_reachable_and_gone_is_final() -> None:
    assert {S.HELLO} | set(SERVER_TRANSITIONS.values()) == set(S)
    assert not [pair for pair in SERVER_TRANSITIONS if pair[0] is S.GONE]
    assert {pair[0] for pair in SERVER_TRANSITIONS} == set(S) - {S.GONE}


# -- requests (S19) ----------------------------------------------------------------------------------------------------


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
    assert rig.requests == [DetachRequest(rig.owner, 40.0)]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 4004])
def test_promise_10_who_is_cut_off_is_counted_by_participant_and_session(code: int) -> None:
    services = FakeServices()
    rig = Rig(services).open()
    assert rig.machine.context.owner is not None
    rig.machine.lost(code, rig.now)
    assert services.violations == [rig.machine.context.owner.session_id, rig.machine.context.participant_id]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 4002])
def test_whose_line_broke_or_is_slow_is_not_cut_off(code: int) -> None:
    services = FakeServices()
    rig = Rig(services).open()
    rig.machine.lost(code, rig.now)
    assert services.violations == []


def test_who_was_cut_off_too_often_has_to_wait() -> None:
    services = FakeServices()
    first = Rig(services).open()
    assert first.machine.context.owner is not None
    services.bad = {first.machine.context.participant_id}
    rig = Rig(services)
    assert rig.error(rig.hello()) == ErrorCode.RATE_LIMITED
    assert rig.close_code == CloseCode.RATE_LIMITED
    services.bad = {first.machine.context.owner.session_id}
    rig = Rig(services)
    assert rig.error(rig.resume(sessionId=first.machine.context.owner.session_id)) == ErrorCode.RATE_LIMITED


def test_fifty_messages_a_second_may_go_on_for_ever() -> None:
    rig = Rig().open()
    for _ in range(600):
        rig.send("ping")
        rig.mono += 0.02
    assert not rig.is_closed()


# -- the fence (S9) ----------------------------------------------------------------------------------------------------


def test_a_fenced_session_answers_retryably_and_is_asked_to_move_once() -> None:
    rig = Rig().open()
    rig.do("fence", rig.now)
    rig.do("fence", rig.now)
    (received,) = rig.notifications("session.moveOn")
    assert (received["after"], received["jitter"]) == (0.0, 10.0)
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
    rig.do("unfence", rig.now, Owner("p1-01", 2, "lease-2"))
    rig.lost(1006)
    assert rig.requests[-1] == DetachRequest(Owner("p1-01", 2, "lease-2"), 40.0)


def test_a_call_refused_because_the_node_took_its_session_back_is_retryable() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u", name="A")
    rig.do("fence", rig.now)
    rig.do("unfence", rig.now, Owner("p1-01", 2, "lease-2"))
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


# -- the drain (S10) ---------------------------------------------------------------------------------------------------


def test_leaving_detaches_with_the_full_grace_and_says_when_to_come_back() -> None:
    rig = Rig()
    rig.hello()
    rig.join()  # not confirmed: the node's stop is not the client's fault
    rig.do("leave", 3.0, 10.0, rig.now)
    assert rig.close_code == CloseCode.DRAINING
    assert rig.closed is not None
    assert msgspec.json.decode(rig.closed.reason) == {"after": 3.0, "jitter": 10.0}
    assert len(rig.closed.reason.encode()) <= 123
    assert rig.requests[-1] == DetachRequest(rig.owner, 40.0)


def test_leaving_in_the_middle_of_an_open_detaches_what_comes_of_it() -> None:
    rig = Rig()
    rig.hello()
    rig.do("leave", 3.0, 10.0, rig.now)
    assert rig.is_in(S.ABANDONED)
    rig.join()
    assert rig.requests[-1] == DetachRequest(Owner("p1-01", 1, "lease-1"), 40.0)


# -- numbers, and anything in any order --------------------------------------------------------------------------------


def test_a_late_answer_dies_by_its_number() -> None:
    rig = Rig().open()
    rig.send("session.getParticipant")
    late = rig.calls[-1].number
    rig.answer([person(ANNA, 6)])
    rig.sent.clear()
    rig.answer([person(ANNA, 7)], late)
    rig.answer(rig.attached(version=7), 1)
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
            None, rig.attached(dice.randrange(1, 5), version=5), [person(ANNA, 6), person(BOB, 6)],
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
        machine.unfence(rig.now, dice.choice([None, Owner("p1-01", 9, "l")]))
    elif roll == 11:
        machine.ended(dice.choice(["kicked", "brand_new", "timeout"]), "", rig.now)
    elif roll == 12:
        machine.superseded(dice.randrange(4), rig.now)
    elif roll == 13:
        acts: list[Callable[[], None]] = [
            lambda: machine.leave(1, 2, rig.now), lambda: machine.move_on(0, 1, rig.now),
            lambda: machine.directory_changed(rig.now), lambda: machine.drained(rig.now), lambda: machine.pong(rig.now),
        ]  # fmt: skip
        dice.choice(acts)()
    elif roll == 14:
        machine.context.watches.enqueue(encode_update(person(BOB, dice.randrange(20))))
    else:
        rig.pass_time(dice.choice([0.1, 5, 16, 4000]))
    rig.pump()


def _fitting(request: Any, rig: Rig) -> Any:
    if isinstance(request, OpenRequest | AttachRequest):
        return rig.attached()
    if isinstance(request, ParticipantQuery | WatchRequest):
        return [person(one, 6) for one in request.ids or ()]
    return person(ANNA, 7) if isinstance(request, UpdateRequest) else None


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
    duties = [one for one in rig.requests if isinstance(one, EndRequest | DetachRequest)]
    assert len(duties) <= 1
    ids = [message["id"] for message in rig.sent if message.get("id") is not None]
    assert len(ids) == len(set(ids)), "a request was answered twice"


def test_versions_sent_never_go_back() -> None:
    for seed in range(50):
        dice = random.Random(seed)
        rig = Rig().open()
        rig.send("participants.watch", ids=[BOB])
        rig.answer([person(BOB, 10)])
        for _ in range(40):
            rig.machine.context.watches.enqueue(encode_update(person(BOB, dice.randrange(40))))
            if dice.random() < 0.5:
                rig.do("drained", rig.now)
        received = [
            one["version"] for params in rig.notifications("participants.changed") for one in params["participants"]
        ]
        assert all(earlier < later for earlier, later in pairwise([10, *received])), f"seed {seed}"


def test_the_clock_is_only_what_it_is_given() -> None:
    machine = ServerSession(FakeServices(), Now(0.0, 0.0))
    assert machine.deadline(Now(0.0, 0.0)) == 10.0


def test_nothing_said_for_ten_seconds_closes() -> None:
    rig = Rig()
    rig.pass_time(9.9)
    assert not rig.is_closed()
    rig.pass_time(0.2)
    assert rig.close_code == CloseCode.UNAUTHENTICATED
    assert rig.is_in(S.GONE)


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


@pytest.mark.parametrize("method", ["ping", "session.getParticipant", "participants.get", "session.close"])
def test_params_that_are_null_are_absent(method: str) -> None:
    """What users ran into: `params: null` was taken for ping and refused for session.close."""
    rig = Rig().open()
    rig.raw(msgspec.json.encode({"jsonrpc": "2.0", "id": 77, "method": method, "params": None}))
    assert rig.calls or rig.result(77) == {}
