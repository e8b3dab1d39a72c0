"""Requests that wait: in their order, not too many, and not before they are earned."""

from __future__ import annotations

import pytest

from greenroom.codes import ErrorCode
from greenroom.core.rooms.requests import JoinRoom
from greenroom.core.server.request_queue import ROSTER_COST, RequestQueue
from greenroom.core.server.services import SessionLimits
from greenroom.messages import Request
from tests.core.server.rig import FakeServices, Rig, person
from tests.core.server.room_rig import joined, roster


def _queue(most: int = 3) -> RequestQueue:
    return RequestQueue(SessionLimits(ids_per_second=10.0, ids_burst=20, max_waiting=most))


def _request(number: int) -> Request:
    return Request(jsonrpc="2.0", id=number, method="participants.get")


def test_they_come_out_in_their_order_and_no_more_than_so_many_wait() -> None:
    queue = _queue()
    assert [queue.put(_request(number)) for number in range(4)] == [True, True, True, False]
    assert len(queue.waiting or ()) == 3
    first = queue.take(0.0)
    assert first is not None
    queue.put_back(first)
    assert [one.id for one in iter(lambda: queue.take(0.0), None)] == [0, 1, 2]
    assert queue.take(0.0) is None


def test_what_costs_too_much_pauses_the_queue_until_it_is_earned() -> None:
    queue = _queue()
    assert queue.charge(20, 0.0)
    assert not queue.charge(10, 0.0)
    queue.put_back(_request(1))
    assert queue.paused_until == 1.0
    assert queue.take(0.9) is None
    assert queue.take(1.0) is not None
    assert queue.charge(10, 1.0)


def test_a_request_that_costs_more_than_the_burst_waits_for_a_full_bucket() -> None:
    queue = _queue()
    assert queue.charge(1_000, 0.0)
    assert not queue.charge(1_000, 1.0)
    assert queue.paused_until == 2.0


def test_it_is_cleared() -> None:
    queue = _queue()
    assert queue.clear() == ()
    queue.put(_request(1))
    assert [one.id for one in queue.clear()] == [1]
    assert queue.waiting is None


def test_requests_are_charged_by_the_participants_they_name() -> None:
    """The report: 50 messages a second, each with 1,000 ids, took 36 % of a core from everybody else."""
    rig = Rig(FakeServices(ids_per_second=1000.0, ids_burst=2000)).open()
    ids = [f"{number:x}" for number in range(1000)]
    numbers = [rig.send("participants.get", ids=ids) for _ in range(6)]
    seen = []
    for _ in range(50):  # five seconds
        while rig.calls and rig.machine.context.pending:
            seen.append(rig.mono)
            rig.answer([person("x", 1)])
        rig.pass_time(0.1)
        rig.machine.pong(rig.now)
    assert len(seen) == 6
    assert [message["id"] for message in rig.sent if "id" in message] == numbers
    assert seen[1] == seen[0]
    assert seen[5] - seen[1] == pytest.approx(4.0, abs=0.2)


def test_pings_and_close_do_not_wait_for_what_is_charged() -> None:
    rig = Rig(FakeServices(ids_per_second=1000.0, ids_burst=1000)).open()
    ids = [f"{number:x}" for number in range(1000)]
    rig.send("participants.unwatch", ids=ids)
    rig.answer(None)
    waiting = rig.send("participants.unwatch", ids=ids)
    assert rig.result(rig.send("ping")) == {}
    close = rig.send("session.close")
    rig.answer(None)
    assert rig.result(close) == {}
    assert not [message for message in rig.sent if message.get("id") == waiting]


def test_a_request_that_waits_to_be_earned_is_refused_by_a_fence() -> None:
    rig = Rig(FakeServices(ids_per_second=1000.0, ids_burst=1000)).open()
    ids = [f"{number:x}" for number in range(1000)]
    rig.send("participants.unwatch", ids=ids)
    number = rig.send("participants.unwatch", ids=ids)
    rig.answer(None)
    rig.do("fence", rig.now)
    rig.pass_time(2)
    assert rig.error(number) == ErrorCode.FENCED


def test_a_request_of_more_participants_than_the_burst_waits_no_longer_than_for_the_burst() -> None:
    rig = Rig(FakeServices(ids_per_second=100.0, ids_burst=50)).open()
    ids = [f"{number:x}" for number in range(900)]
    number = 0
    for _ in range(2):
        number = rig.send("participants.watch", known=[[one, 1] for one in ids])
        rig.pass_time(1)
        rig.answer([person(one, 1) for one in ids])
    assert rig.result(number) == {"participants": []}


def test_s19_rosters_cost_as_much_as_participants() -> None:
    rig = Rig(FakeServices(ids_per_second=ROSTER_COST, ids_burst=2 * ROSTER_COST)).open()
    for room in ("a", "b"):
        joined(rig, room)
    number = rig.send("rooms.join", room="c")
    assert not isinstance(rig.requests[-1], JoinRoom) or rig.requests[-1].room != "c"
    rig.pass_alive(1.1)
    assert rig.requests[-1].room == "c"
    rig.answer(roster("c"))
    assert rig.result(number)["watching"]
