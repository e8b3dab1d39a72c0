"""Requests wait for their turn and their replies; the scenarios show it over a connection."""

from __future__ import annotations

import json
from typing import Any

from greenroom.core.client.effects import ClientSettings, Effect, Reject, SendText
from greenroom.core.client.requests import PendingRequests
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.messages import NoParams, ParticipantsParams, WireLimits

GET = "participants.get"


def _requests(**limits: Any) -> PendingRequests:
    requests = PendingRequests(ClientSettings())
    requests.connected(0.0, WireLimits(**limits))
    return requests


def _get(requests: PendingRequests, now: float, waiter: int, *ids: str) -> None:
    assert requests.add(now, GET, ParticipantsParams(ids=list(ids)), waiter, 10.0) is None


def _sent(effects: list[Effect]) -> list[Any]:
    return [json.loads(one.data)["params"] for one in effects if isinstance(one, SendText)]


def test_a_service_that_does_not_say_takes_eighty_at_once_and_forty_a_second() -> None:
    requests = PendingRequests(ClientSettings(max_in_flight=1000))
    requests.connected(0.0, WireLimits())
    for waiter in range(200):
        requests.add(0.0, "session.getParticipant", NoParams(), waiter, 10.0)
    assert len(requests.flush(0.0, 1)) == 80
    assert requests.due() == 0.025
    assert len(requests.flush(1.0, 1)) == 40


def test_whoever_waits_for_the_pace_does_not_time_out() -> None:
    requests = _requests(messages_per_second=1.25, messages_burst=1)
    for waiter in range(15):
        requests.add(0.0, "session.getParticipant", NoParams(), waiter, 10.0)
    sent = 0
    for second in range(16):
        sent += len(requests.flush(float(second), second))
        assert requests.run(float(second)) == [] or second > 9
    assert sent == 15


def test_a_lookup_is_never_moved_before_another_request() -> None:
    requests = PendingRequests(ClientSettings(max_in_flight=3))
    _get(requests, 0.0, 1, "a")
    requests.add(0.0, "session.getParticipant", NoParams(), 2, 10.0)
    _get(requests, 0.0, 3, "b")
    _get(requests, 0.0, 4, "c")
    assert _sent(requests.flush(0.0, 1)) == [{"ids": ["a"]}, {}, {"ids": ["b", "c"]}]


def test_a_caller_that_was_cancelled_takes_nobody_with_it() -> None:
    requests = PendingRequests(ClientSettings())
    _get(requests, 0.0, 1, "a")
    _get(requests, 0.0, 2, "b")
    assert _sent(requests.flush(0.0, 1)) == [{"ids": ["a", "b"]}]
    requests.cancel(1)
    (rejected,) = requests.run(10.0)
    assert isinstance(rejected, Reject)
    assert rejected.waiter == 2


def test_a_timeout_after_a_reply_that_the_session_has_ended_is_no_end() -> None:
    requests = PendingRequests(ClientSettings())
    _get(requests, 0.0, 1, "a")
    requests.flush(0.0, 1)
    (request,) = requests
    requests.hold(request, SessionEndedError())
    (rejected,) = requests.run(10.0)
    assert isinstance(rejected, Reject)
    assert isinstance(rejected.error, ServiceUnavailableError)
    assert rejected.error.retryable
