"""What connections bring in: whatever it is, it finds its part of the machine, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import CloseCode
from greenroom.core.client import effects as fx
from greenroom.core.states import SessionState
from greenroom.errors import ProtocolError, ServiceUnavailableError
from tests.core.client.rig import RESULT, Rig

UNREADABLE = (b"\xff", "", "{", "[]", '{"jsonrpc":"2.0","id":"x","result":', "[" * 100_000)


@pytest.mark.parametrize("data", UNREADABLE, ids=lambda data: repr(data[:12]))
def test_a_message_that_cannot_be_read_costs_the_connection_and_not_the_session(data: bytes | str) -> None:
    rig = Rig()
    rig.open()
    rig.say(data)
    assert [(one.attempt, one.code) for one in rig.some(fx.Disconnect)] == [(1, CloseCode.COME_BACK)]
    assert rig.machine.state is SessionState.RECONNECTING
    rig.at(rig.now + 5.0)
    assert [one.attempt for one in rig.some(fx.Dial)] == [2]


def test_an_answer_to_the_open_that_cannot_be_read_is_said_to_the_caller() -> None:
    rig = Rig()
    rig.machine.open(0.0, 1)
    rig.dial()
    rig.say(b"\xff")
    effects = rig.effects()
    (rejected,) = [one for one in effects if isinstance(one, fx.Reject)]
    assert isinstance(rejected.error, ProtocolError)
    assert "cannot read" in str(rejected.error)
    assert [one.attempt for one in effects if isinstance(one, fx.Disconnect)] == [1]
    assert rig.machine.is_idle()


@pytest.mark.parametrize(
    "message",
    [
        {"id": 99, "result": {}},
        {"id": 99, "error": {"code": -32000, "message": "late"}},
        {"method": "session.unheardOf", "params": {"any": 1}},
        {"method": "rooms.unheardOf", "params": {}},
        {"result": {}},
    ],
)
def test_what_no_part_waits_for_is_ignored(message: dict[str, Any]) -> None:
    rig = Rig()
    rig.open()
    rig.say(message)
    assert rig.effects() == []
    assert rig.machine.state is SessionState.CONNECTED


def test_inputs_of_attempts_that_are_over_or_never_were_change_nothing() -> None:
    rig = Rig()
    rig.open()
    rig.machine.lost(rig.now, 1, 1006)
    rig.effects()
    for attempt in (0, 1, 77):
        rig.machine.dialed(rig.now, attempt)
        rig.machine.dial_failed(rig.now, attempt, ServiceUnavailableError("late"))
        rig.machine.lost(rig.now, attempt, int(CloseCode.KICKED))
        rig.say({"method": "session.ended", "params": {"reason": "kicked", "message": ""}}, attempt)
        rig.say(b"\xff", attempt)
    assert rig.effects() == []
    assert rig.machine.state is SessionState.RECONNECTING


def test_notifications_count_on_the_live_connection_alone() -> None:
    rig = Rig()
    rig.machine.open(0.0, 1)
    hello = rig.dial()
    rig.say({"method": "session.ended", "params": {"reason": "kicked", "message": ""}})
    assert rig.effects() == []
    rig.say({"id": hello["id"] + 1, "result": RESULT})
    assert rig.effects() == [], "an answer to another request"
    rig.say({"id": hello["id"], "result": RESULT})
    assert rig.machine.state is SessionState.CONNECTED


def test_a_ping_goes_out_when_it_is_time_and_an_unanswered_one_ends_the_connection() -> None:
    rig = Rig()
    rig.open()
    rig.at(14.9)
    assert rig.sent() == []
    rig.at(15.0)
    (ping,) = rig.sent()
    assert ping["method"] == "ping"
    rig.say({"id": ping["id"], "result": {}})
    rig.at(30.0)
    rig.at(37.9)
    assert [one["method"] for one in rig.sent()] == ["ping"], "none while one is under way"
    assert rig.some(fx.Disconnect) == []
    rig.at(38.0)
    assert [(one.attempt, one.code) for one in rig.some(fx.Disconnect)] == [(1, CloseCode.COME_BACK)]
    assert rig.machine.state is SessionState.RECONNECTING


def test_a_timer_that_slept_asks_once_more_before_it_gives_the_connection_up() -> None:
    rig = Rig()
    rig.open()
    rig.at(15.0)
    rig.effects()
    rig.now = 600.0  # a laptop that was closed: the pong may wait to be read
    rig.machine.tick(rig.now)
    assert [one["method"] for one in rig.sent()] == ["ping"]
    rig.now = 1200.0
    rig.machine.tick(rig.now)
    assert [one.code for one in rig.some(fx.Disconnect)] == [CloseCode.COME_BACK]


def test_a_service_that_does_not_answer_the_hello_is_dialled_again() -> None:
    rig = Rig()
    rig.machine.open(0.0, 1, timeout=None)
    rig.dial()
    rig.at(7.9)
    assert rig.some(fx.Disconnect) == []
    rig.at(8.0)
    assert [(one.attempt, one.code) for one in rig.some(fx.Disconnect)] == [(1, CloseCode.COME_BACK)]
    rig.at(20.0)
    assert [one.attempt for one in rig.some(fx.Dial)][:1] == [2]
