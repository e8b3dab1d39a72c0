"""Requests that wait: in their order, not too many, and not before they are earned."""

from __future__ import annotations

from greenroom.core.server.request_queue import RequestQueue
from greenroom.core.server.services import SessionLimits
from greenroom.messages import Request


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
