"""Closes that the service has not confirmed; the scenarios show them in a session (S6)."""

from __future__ import annotations

import json
from typing import Any

from greenroom.codes import CloseCode
from greenroom.core.client.attempts import Attempt, Attempts, Phase
from greenroom.core.client.effects import ClientSettings, ClientTools, Dial, Disconnect, Effect, Resolve, SendText
from greenroom.core.client.output import Output
from greenroom.core.client.pending_close import PendingCloses
from greenroom.core.client.requests import PendingRequests
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.tokens.reader import peek

TOOLS = ClientTools(random=lambda: 0.5, random_bytes=bytes, wall=lambda: 0.0, peek=peek)
SETTINGS = ClientSettings()
GRACE = 40.0


def _closes() -> PendingCloses:
    requests = PendingRequests(SETTINGS)
    return PendingCloses(TOOLS, SETTINGS, requests, Attempts(TOOLS, SETTINGS, Output()))


def _sent(effects: list[Effect]) -> list[Any]:
    return [json.loads(one.data)["params"] for one in effects if isinstance(one, SendText)]


def _live() -> Attempt:
    return Attempt(1, Phase.LIVE, None)


def _away(closes: PendingCloses, secrets: list[str]) -> None:
    """A session without a connection is closed; the new connection is there."""
    assert closes.start(0.0, "s1", secrets, GRACE, None, [7]) == [Resolve(7, None)], "nobody waits for a new connection"
    assert closes.run(0.0) == [Dial(1)]


def test_on_a_live_connection_close_waits_for_the_reply() -> None:
    closes = _closes()
    effects = closes.start(0.0, "s1", ["secret"], GRACE, _live(), [7])
    assert _sent(effects) == [{}]
    (closing,) = closes.pending
    assert closes.answered(0.1, closing, closing.request_id, None) == [
        Disconnect(1, CloseCode.NORMAL),
        Resolve(7, None),
    ]
    assert closes.pending == []
    assert closes.due() is None


def test_an_open_that_is_not_answered_is_closed_by_closing_its_connection() -> None:
    closes = _closes()
    attempt = Attempt(1, Phase.HELLO, 8.0)
    assert closes.start(0.0, None, ["secret"], GRACE, attempt, [7]) == [Disconnect(1, CloseCode.NORMAL)]
    (closing,) = closes.pending
    assert closes.lost(0.1, closing, CloseCode.ABNORMAL) == [Resolve(7, None)]
    assert closes.pending == []


def test_without_a_connection_it_is_the_first_message_of_a_new_one() -> None:
    closes = _closes()
    _away(closes, ["secret"])
    (closing,) = closes.pending
    assert _sent(closes.dialed(closing)) == [{"sessionId": "s1", "resumeSecret": "secret"}]
    assert closes.dialed(closing) == [], "once"


def test_where_one_secret_is_refused_the_other_one_is_tried() -> None:
    closes = _closes()
    _away(closes, ["newer", "older"])
    (closing,) = closes.pending
    closes.dialed(closing)
    again = closes.answered(0.2, closing, closing.request_id, SessionEndedError())
    assert _sent(again) == [{"sessionId": "s1", "resumeSecret": "older"}]
    assert closes.answered(0.3, closing, closing.request_id, SessionEndedError()) == [Disconnect(1, CloseCode.NORMAL)]
    assert closes.pending == []


def test_a_refusal_for_now_is_repeated_until_the_grace_is_over() -> None:
    closes = _closes()
    _away(closes, ["secret"])
    dials = 1
    now = 0.0
    while closes.pending:
        (closing,) = closes.pending
        if closing.attempt is not None:
            closes.dialed(closing)
            refused = closes.answered(now, closing, closing.request_id, ServiceUnavailableError())
            assert refused == [Disconnect(dials, CloseCode.COME_BACK)]
        due = closes.due()
        assert due is not None
        now = due
        dials += sum(isinstance(one, Dial) for one in closes.run(now))
    assert now == GRACE
    assert dials > 3
    assert closes.due() is None


def test_the_caller_waits_no_longer_than_the_close_timeout() -> None:
    closes = _closes()
    closes.start(0.0, "s1", ["secret"], GRACE, _live(), [7])
    assert closes.join(0.5, 8), "a second call waits for the same reply"
    assert closes.due() == SETTINGS.close_timeout
    effects = closes.run(SETTINGS.close_timeout)
    assert [one for one in effects if isinstance(one, Resolve)] == [Resolve(7, None), Resolve(8, None)]
    assert closes.pending, "it goes on in the background"
    assert not closes.join(3.0, 9), "there is no connection to wait for"


def test_an_app_that_exits_leaves_nothing_behind() -> None:
    closes = _closes()
    closes.start(0.0, "s1", ["secret"], GRACE, _live(), [7])
    assert closes.abandon() == [Disconnect(1, CloseCode.NORMAL), Resolve(7, None)]
    assert closes.pending == []
