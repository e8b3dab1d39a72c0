"""From an open to its end: what the service's refusals and closes, and the callbacks of the app, make of a session."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ERRORS, CloseCode, ErrorCode
from greenroom.core.client import effects as fx
from greenroom.core.states import SessionState
from greenroom.errors import ServiceUnavailableError, TokenRefreshError
from tests.core.client.rig import RESULT, WALL, Rig
from tests.support.scenarios import token_text


def refusal(code: ErrorCode, **data: Any) -> dict[str, Any]:
    return {"error": {"code": int(code), "message": "No.", "data": {"reason": ERRORS[code].reason, **data}}}


def opening(**more: Any) -> tuple[Rig, dict[str, Any]]:
    """A hello that waits for its answer."""
    rig = Rig(**more)
    rig.machine.open(0.0, 1)
    return rig, rig.dial()


def resuming(**more: Any) -> tuple[Rig, dict[str, Any]]:
    """A session whose connection was lost, and the hello of the next one."""
    rig = Rig(**more)
    rig.open()
    rig.machine.lost(rig.now, 1, 1006)
    rig.at(rig.now + 5.0)
    assert rig.some(fx.Dial)
    hello = rig.dial(2)
    assert hello["method"] == "session.resume"
    return rig, hello


def test_an_open_that_is_refused_for_now_is_repeated_with_the_same_ids() -> None:
    rig, hello = opening()
    rig.say({"id": hello["id"], **refusal(ErrorCode.SERVICE_UNAVAILABLE, retryAfter=3)})
    assert [one.attempt for one in rig.some(fx.Disconnect)] == [1]
    rig.at(2.9)
    assert rig.some(fx.Dial) == [], "not sooner than the service asks"
    rig.at(8.0)
    assert len(rig.some(fx.Dial)) == 1
    again = rig.dial(2)
    assert (again["params"]["openId"], again["params"]["resumeSecret"]) == (
        hello["params"]["openId"],
        hello["params"]["resumeSecret"],
    )


def test_an_open_that_is_refused_for_good_is_the_callers_error_and_leaves_nothing() -> None:
    rig, hello = opening()
    rig.say({"id": hello["id"], **refusal(ErrorCode.PARTICIPANT_BLOCKED)})
    (rejected,) = rig.some(fx.Reject)
    assert (rejected.waiter, rejected.error.code) == (1, ErrorCode.PARTICIPANT_BLOCKED)
    assert rig.machine.is_idle()
    assert rig.machine.deadline() is None


@pytest.mark.parametrize("refreshable", [True, False])
def test_an_expired_token_is_refreshed_once_where_it_can_be(refreshable: bool) -> None:
    rig, hello = opening(refreshable=refreshable)
    rig.say({"id": hello["id"], **refusal(ErrorCode.TOKEN_EXPIRED)})
    effects = rig.effects()
    rig.at(1.0)
    effects += rig.effects()
    asked = [one for one in effects if isinstance(one, fx.RequestToken)]
    assert len(asked) == refreshable
    assert any(isinstance(one, fx.Reject) for one in effects) is not refreshable
    if refreshable:
        token = token_text({"app": "app", "xid": "ada", "iat": WALL, "exp": WALL + 7200})
        rig.machine.token(rig.now, asked[0].number, token)
        rig.at(2.0)
        assert rig.some(fx.Dial)
        assert rig.dial(2)["params"]["token"] == token


def test_a_resume_keeps_the_session_and_says_so() -> None:
    rig, hello = resuming()
    rig.say({"id": hello["id"], "result": RESULT}, 2)
    assert [one.state for one in rig.some(fx.StateChanged)] == [SessionState.CONNECTED]
    assert rig.machine.state is SessionState.CONNECTED
    assert rig.machine.session_id == "p1-s"


def test_a_session_that_the_service_lost_is_opened_again_and_not_twice_in_a_minute() -> None:
    rig, hello = resuming()
    rig.say({"id": hello["id"], **refusal(ErrorCode.STATE_LOST)}, 2)
    (again,) = rig.sent()
    assert again["method"] == "session.open", "on the same connection"
    session = {**RESULT, "session": {**RESULT["session"], "id": "p1-t"}}  # type: ignore[dict-item]
    rig.say({"id": again["id"], "result": session}, 2)
    (reopened,) = [one for one in rig.events() if isinstance(one, fx.SessionReopenedEvent)]
    assert reopened.previous_id == "ada"
    assert rig.machine.session_id == "p1-t"
    rig.machine.lost(rig.now, 2, 1006)
    rig.at(rig.now + 5.0)
    hello = rig.dial(3)
    rig.say({"id": hello["id"], **refusal(ErrorCode.STATE_LOST)}, 3)
    (ended,) = [one for one in rig.events() if isinstance(one, fx.SessionEndedEvent)]
    assert ended.reason
    assert not rig.machine.is_open()


@pytest.mark.parametrize("code", [CloseCode.KICKED, CloseCode.SUPERSEDED])
def test_a_close_for_good_ends_the_session(code: CloseCode) -> None:
    rig = Rig()
    rig.open()
    rig.machine.lost(rig.now, 1, int(code))
    (ended,) = [one for one in rig.events() if isinstance(one, fx.SessionEndedEvent)]
    assert not rig.machine.is_open()
    assert rig.machine.deadline() is None
    assert ended.error is not None


def test_one_that_is_asked_to_move_on_keeps_its_connection_until_another_one_is_accepted() -> None:
    rig = Rig()
    rig.open()
    rig.say({"method": "session.moveOn", "params": {"reason": "draining", "after": 1.0, "jitter": 2.0}})
    rig.at(1.9)
    assert rig.some(fx.Dial) == []
    rig.at(2.0)
    assert [one.attempt for one in rig.some(fx.Dial)] == [2]
    hello = rig.dial(2)
    assert rig.some(fx.Disconnect) == []
    rig.say({"id": hello["id"], "result": RESULT}, 2)
    assert [one.attempt for one in rig.some(fx.Disconnect)] == [1]
    assert rig.machine.state is SessionState.CONNECTED


def test_one_that_may_stay_dials_nobody() -> None:
    rig = Rig()
    rig.open()
    rig.say({"method": "session.moveOn", "params": {"reason": "draining", "after": 1.0, "jitter": 2.0}})
    rig.say({"method": "session.stay", "params": {}})
    rig.at(10.0)
    assert rig.some(fx.Dial) == []


def test_the_network_s_fault_is_not_the_callback_s_and_ends_nothing() -> None:
    rig = Rig(refreshable=True, life=60)
    rig.open()
    rig.now = 50.0
    rig.machine.lost(rig.now, 1, 1006)
    rig.now = 61.0
    rig.machine.tick(rig.now)
    events: list[Any] = []
    for _ in range(3):
        effects = rig.effects()
        events += [one.event for one in effects if isinstance(one, fx.Notify)]
        for ask in (one for one in effects if isinstance(one, fx.RequestToken)):
            rig.machine.token(rig.now, ask.number, TokenRefreshError("no route"))
        rig.at(rig.now + 2.0)
    assert any(isinstance(one, fx.TokenRefreshFailedEvent) for one in events)
    assert not any(isinstance(one, fx.SessionEndedEvent) for one in events)
    assert rig.machine.is_open()


def test_a_loop_that_has_ended_takes_the_session_with_it_and_nothing_is_sent() -> None:
    rig = Rig()
    rig.open()
    rig.machine.get_participant(rig.now, 2)
    rig.effects()
    rig.machine.loop_ended(rig.now, "The loop has ended.")
    effects = rig.effects()
    assert [one.waiter for one in effects if isinstance(one, fx.Reject)] == [2]
    assert not any(isinstance(one, fx.SendText | fx.Dial) for one in effects)
    assert rig.machine.is_idle()
    assert rig.machine.deadline() is None


def test_whoever_gives_up_last_cancels_the_open() -> None:
    rig = Rig()
    rig.machine.open(0.0, 1)
    rig.machine.open(0.0, 2)
    rig.dial()
    rig.machine.cancel_open(0.0, 1)
    assert not [one for one in rig.effects() if isinstance(one, fx.Disconnect)]
    rig.machine.cancel_open(0.0, 2)
    rig.at(60.0)
    assert [one.attempt for one in rig.some(fx.Disconnect)] == [1]
    assert rig.machine.is_idle()


def test_a_callback_that_returns_nothing_is_an_error_that_says_so() -> None:
    rig = Rig()
    rig.machine.set_token(0.0, None, refreshable=True)
    rig.machine.open(0.0, 1)
    (ask,) = rig.some(fx.RequestToken)
    rig.machine.token(0.1, ask.number, None)
    (rejected,) = rig.some(fx.Reject)
    assert isinstance(rejected.error, TokenRefreshError)
    assert "returned None. Is its return statement missing?" in str(rejected.error)


def test_the_timeout_names_the_last_failure() -> None:
    rig = Rig()
    rig.machine.open(0.0, 1, timeout=1.0)
    rig.machine.dial_failed(0.5, 1, ServiceUnavailableError("No route to host."), 5.0)
    rig.machine.tick(1.0)
    (rejected,) = rig.some(fx.Reject)
    assert "No route to host." in str(rejected.error)
