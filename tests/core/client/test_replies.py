"""What becomes of a reply; the scenarios show it over a connection."""

from __future__ import annotations

from typing import Any

import msgspec

from greenroom.codes import ErrorCode
from greenroom.core.client.clock import ServiceClock
from greenroom.core.client.effects import (
    ClientSettings,
    ClientTools,
    Effect,
    Notify,
    Reject,
    Resolve,
    TokenRefreshFailedEvent,
)
from greenroom.core.client.output import Output
from greenroom.core.client.replies import Replies
from greenroom.core.client.requests import PendingRequests
from greenroom.core.client.rooms import LocalRooms
from greenroom.core.client.tokens import TokenManager, TokenOrigin
from greenroom.core.client.watches import WatchedParticipants
from greenroom.errors import ProtocolError
from greenroom.messages import Incoming, NoParams, ParticipantsParams, RefreshTokenParams, decode_incoming
from greenroom.tokens.reader import peek
from tests.support.scenarios import token_text

WALL = 1_700_000_000.0
SETTINGS = ClientSettings()


class Rig:
    """The parts that replies touch, without a session."""

    def __init__(self) -> None:
        tools = ClientTools(random=lambda: 0.5, random_bytes=bytes, wall=lambda: WALL, peek=peek)
        clock = ServiceClock()
        clock.note(0.0, WALL)
        self.output = Output()
        self.tokens = TokenManager(tools, SETTINGS, clock)
        self.token = token_text({"app": "app", "xid": "ada", "iat": int(WALL), "exp": int(WALL) + 600})
        self.tokens.adopt(*self.tokens.check(self.token, TokenOrigin.GIVEN), TokenOrigin.GIVEN)
        self.requests = PendingRequests(SETTINGS)
        rooms = LocalRooms(self.output, self.requests)
        self.replies = Replies(self.output, self.tokens, self.requests, WatchedParticipants(), rooms)

    def ask(self, method: str, params: msgspec.Struct, *waiters: int | None) -> None:
        """Requests of these callers, sent on connection 1."""
        for waiter in waiters:
            self.requests.add(0.0, method, params, waiter, 10.0)
        self.requests.flush(0.0, 1)

    def answer(self, **reply: Any) -> tuple[bool, list[Effect]]:
        """The first request is answered. Whether the node does not have the session, and the effects."""
        request = self.requests.take(next(iter(self.requests)).id)
        assert request is not None
        incoming: Incoming = decode_incoming(msgspec.json.encode({"jsonrpc": "2.0", "id": request.id, **reply}))
        return self.replies.received(0.0, None, request, incoming), self.output.take()


def _error(code: ErrorCode, **data: Any) -> dict[str, Any]:
    retryable = data.pop("retryable", False)
    return {"code": code, "message": "No.", "data": {"reason": "x", "retryable": retryable, **data}}


def _person(number: int) -> dict[str, Any]:
    counts = {"revision": 1, "version": 1, "sessions": 1}
    return {"id": f"p{number}", "externalId": f"x{number}", "presence": "online", "lastSeen": None, **counts}


def test_a_reply_that_cannot_be_read_is_the_callers_error() -> None:
    rig = Rig()
    rig.ask("session.getParticipant", NoParams(), 1)
    gone, (rejected,) = rig.answer(result={"participant": 7})
    assert not gone
    assert isinstance(rejected, Reject)
    assert isinstance(rejected.error, ProtocolError)


def test_each_caller_of_a_merged_lookup_gets_its_own() -> None:
    rig = Rig()
    for waiter in (1, 2):
        rig.requests.add(0.0, "participants.get", ParticipantsParams(ids=[f"p{waiter}"]), waiter, 10.0)
    rig.requests.flush(0.0, 1)
    _, effects = rig.answer(result={"participants": [_person(1), _person(2)]})
    found = {one.waiter: [each.id for each in one.result] for one in effects if isinstance(one, Resolve)}
    assert found == {1: ["p1"], 2: ["p2"]}


def test_one_callers_mistake_is_not_the_others() -> None:
    rig = Rig()
    for waiter in (1, 2):
        rig.requests.add(0.0, "participants.get", ParticipantsParams(ids=[f"p{waiter}"]), waiter, 10.0)
    rig.requests.flush(0.0, 1)
    assert rig.answer(error=_error(ErrorCode.ILLEGAL_ARGUMENT)) == (False, [])
    assert [[caller.waiter for caller in request.callers] for request in rig.requests] == [[1], [2]], "asked singly"


def test_a_session_that_is_not_there_keeps_the_request_for_the_next_connection() -> None:
    rig = Rig()
    rig.ask("session.getParticipant", NoParams(), 1)
    assert rig.answer(error=_error(ErrorCode.SESSION_ENDED)) == (True, [])
    assert [request.callers[0].waiter for request in rig.requests] == [1]


def test_a_rate_limited_request_is_sent_again_after_the_time_that_the_service_says() -> None:
    rig = Rig()
    rig.ask("session.getParticipant", NoParams(), 1)
    assert rig.answer(error=_error(ErrorCode.RATE_LIMITED, retryable=True, retryAfter=3)) == (False, [])
    assert rig.requests.flush(2.9, 1) == []
    assert len(rig.requests.flush(3.0, 1)) == 1


def test_a_new_token_is_sent_once_and_a_refused_one_is_reported() -> None:
    rig = Rig()
    rig.replies.send_token()
    rig.replies.send_token()
    (request,) = rig.requests
    assert request.params == RefreshTokenParams(rig.token)
    rig.requests.flush(0.0, 1)
    _, (reported,) = rig.answer(error=_error(ErrorCode.TOKEN_INVALID))
    assert isinstance(reported, Notify)
    assert isinstance(reported.event, TokenRefreshFailedEvent)
    assert not reported.event.is_expired
    rig.replies.send_token()
    rig.requests.flush(0.0, 1)
    rig.answer(result={"scopes": ["*"], "expiresAt": 1700000600})
    assert rig.tokens.accepted == rig.token
    rig.replies.send_token()
    assert list(rig.requests) == []
