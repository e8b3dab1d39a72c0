"""Connection attempts by number, and when to dial next."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import CloseCode
from greenroom.core.backoff import MAX_RETRY_AFTER
from greenroom.core.client.attempts import Attempts, Phase, RedialTimer
from greenroom.core.client.effects import ClientSettings, ClientTools, Dial, Disconnect
from greenroom.core.client.output import Output
from greenroom.tokens.reader import peek

TOOLS = ClientTools(random=lambda: 0.5, random_bytes=bytes, wall=lambda: 0.0, peek=peek)


def test_numbers_are_never_used_again() -> None:
    output = Output()
    attempts = Attempts(TOOLS, ClientSettings(), output)
    attempts.dial(0.0)
    attempts.disconnect(attempts.get(1))
    attempts.dial(0.0)
    assert output.take() == [Dial(1), Disconnect(1, CloseCode.COME_BACK), Dial(2)]
    assert attempts.get(1) is None


def test_one_is_live_and_one_is_on_the_way() -> None:
    attempts = Attempts(TOOLS, ClientSettings(), Output())
    attempts.dial(0.0)
    first = attempts.candidate()
    assert first is not None
    first.go_live(1.0)
    attempts.dial(2.0)
    second = attempts.candidate()
    assert second is not None
    assert (attempts.live(), second.phase, second.deadline) == (first, Phase.DIALING, 10.0)
    assert first.times() == [None, 1.0]


def test_a_timer_that_slept_is_noticed_once() -> None:
    attempts = Attempts(TOOLS, ClientSettings(), Output())
    attempts.dial(0.0)
    (attempt,) = attempts
    attempt.go_live(0.0)
    attempt.ping_sent(0.0, 1, ClientSettings())
    assert not attempt.timer_slept(8.5)
    assert attempt.timer_slept(20.0)
    assert not attempt.timer_slept(40.0)


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [(None, 0.1), (-5, 0.1), (2, 2.1), (float("inf"), MAX_RETRY_AFTER + 0.1), (float("nan"), 0.1), ("soon", 0.1)],
)
def test_what_the_service_asks_is_bounded(retry_after: Any, delay: float) -> None:
    timer = RedialTimer(TOOLS)
    timer.after_failure(0.0, retry_after)
    assert timer.due == pytest.approx(delay)
