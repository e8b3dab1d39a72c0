"""ClientSession: random walks, and what no scenario says."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.client import ClientSession
from greenroom.core.client import effects as fx
from greenroom.core.states import SessionState
from greenroom.errors import CLASS_OF_CODE
from greenroom.messages import Device, ParticipantsParams
from greenroom.model import ParticipantInfo
from greenroom.tokens.reader import peek
from tests.support.scenarios import token_text

_WALL = 1_700_000_000
_NEVER = 1_000_000
"""An attempt that is never made."""
_RESULT = {
    "session": {"id": "p1-s", "generation": 1, "grace": 40, "expiresAt": 0},
    "participant": {"id": "ada", "revision": 0, "version": 1, "presence": "online", "sessions": 1, "lastSeen": None},
    "scopes": ["*"],
}

_INVITATION = {"id": "i", "room": "r", "createdAt": 1, "expiresAt": 2}


def _tools(dice: random.Random, wall: Any = None) -> fx.ClientTools:
    return fx.ClientTools(
        random=dice.random, random_bytes=dice.randbytes, wall=wall or (lambda: float(_WALL)), peek=peek
    )


class Walker:
    """Feeds a machine with anything, and keeps the books that every shell could keep."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.ahead = 0.0
        self.machine = ClientSession(_tools(self.dice, lambda: _WALL + self.now + self.ahead))
        self.waiting: dict[int, str] = {}
        self.waiters = itertools.count(1)
        self.sent: list[tuple[int, Any]] = []
        self.attempts = [0, _NEVER]
        self.alive: set[int] = set()
        self.asks = [0]
        self.state = SessionState.DISCONNECTED
        self.secrets: set[str] = set()
        self.asked_at = float("-inf")

    def waiter(self, kind: str = "request") -> int:
        number = next(self.waiters)
        self.waiting[number] = kind
        return number

    def token(self) -> str:
        start = self.dice.choice([0, 0, 0, -3600, 3600, -90])
        life = self.dice.choice([60, 3600])
        xid = self.dice.choice(["ada", "ada", "ada", "bob"])
        return token_text(
            {
                "app": "app",
                "xid": xid,
                "iat": int(_WALL + self.now + start),
                "exp": int(_WALL + self.now + start + life),
            }
        )

    def step(self) -> None:
        self.now += self.dice.choice([0.0, 0.0, 0.01, 0.2, 1.0, 7.0, 30.0])
        if self.dice.random() < 0.02:
            self.ahead += self.dice.choice([-50.0, 10.0, 4000.0])
        self.dice.choice(self.inputs())()
        self.take()

    def inputs(self) -> list[Any]:
        machine, now, dice = self.machine, self.now, self.dice
        attempt = dice.choice(self.attempts[-4:])
        code = dice.choice([*(int(one) for one in CloseCode), 3000, 4499, 4999])
        error = CLASS_OF_CODE[(number := dice.choice(list(ErrorCode)))](code=number)
        info = dice.choice([None, ParticipantInfo("Ada"), ParticipantInfo("Bob"), ParticipantInfo(external_id="ada")])
        return [
            lambda: machine.set_token(now, dice.choice([self.token(), None, "x"]), refreshable=dice.random() < 0.8),
            lambda: machine.open(
                now, self.waiter("open"), info, dice.choice([None, Device("d")]), dice.choice([None, 0.0, 5.0])
            ),
            lambda: machine.open(now, self.waiter("open"), None),
            lambda: machine.cancel_open(now, self.cancelled("open")),
            lambda: machine.cancel_request(now, self.cancelled("request")),
            lambda: machine.close(now, self.waiter("close")) if dice.random() < 0.3 else None,
            lambda: machine.update(now, self.waiter(), "n" * dice.choice([1, 40_000])),
            lambda: machine.get_participant(now, self.waiter()),
            lambda: machine.request(now, self.waiter(), "participants.watch", ParticipantsParams(ids=["a", "b"])),
            lambda: machine.unwatch(now, self.waiter(), ParticipantsParams(ids=["a"])),
            *self.room_inputs(),
            lambda: machine.token(now, dice.choice(self.asks), dice.choice([None, 5, self.token(), OSError(), error])),
            *[lambda: machine.dialed(now, attempt)] * 4,
            *[self.answer] * 10,
            lambda: machine.dial_failed(now, attempt, error, dice.choice([None, 3.0])),
            lambda: machine.lost(now, attempt, code),
            lambda: machine.message(now, attempt, self.anything()),
            *[lambda: machine.tick(now)] * 4,
            lambda: machine.online(now),
            lambda: machine.offline(now),
            lambda: machine.wake(now),
            lambda: machine.abandon(now) if dice.random() < 0.05 else None,
        ]

    def room_inputs(self) -> list[Any]:
        machine, now, room = self.machine, self.now, self.dice.choice(["r", "s"])
        return [
            *[lambda: machine.join_room(now, self.waiter(), room)] * 2,
            lambda: machine.watch_room(now, self.waiter(), room),
            lambda: machine.leave_room(now, self.waiter(), room),
            lambda: machine.unwatch_room(now, self.waiter(), room),
            lambda: machine.send_to_room(now, self.waiter(), room, b"1", []),
            lambda: machine.answer_invitation(now, self.waiter(), "i", accept=True),
        ]

    def cancelled(self, kind: str) -> int:
        number = self.dice.choice([0, *(one for one, what in self.waiting.items() if what == kind)])
        self.waiting.pop(number, None)
        return number

    def answer(self) -> None:
        """Answer something that was sent lately, well or badly."""
        if not self.sent:
            return
        attempt, message = self.dice.choice(self.sent[-6:])
        if self.dice.random() < 0.2:
            number = self.dice.choice(list(ErrorCode))
            data = {"retryAfter": self.dice.choice([1, "x"]), "endReason": self.dice.choice(["timeout", "kicked", 5])}
            body: dict[str, Any] = {"error": {"code": int(number), "message": "no", "data": data}}
        else:
            opened = {**_RESULT, "capabilities": self.dice.choice([["rooms"], ["rooms"], []]), **self.of_rooms()}
            room = {"roster": self.roster(message["params"].get("room", "r")), "watching": self.dice.random() < 0.8}
            results: dict[str, Any] = {
                "session.open": opened,
                "session.resume": opened,
                "rooms.join": room,
                "rooms.watch": {"rosters": [self.roster("r")] * self.dice.choice([0, 1])},
                "rooms.members": {**self.roster("r"), "version": self.dice.randrange(20)},
                "session.refreshToken": {"expiresAt": 0, "scopes": []},
                "session.updateParticipantInfo": {"participant": _RESULT["participant"]},
                "session.getParticipant": {"participant": _RESULT["participant"]},
                "participants.watch": {"participants": [_RESULT["participant"]]},
            }
            body = {"result": results.get(message["method"], {})}
        self.machine.message(self.now, attempt, json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}))

    def roster(self, room: str) -> dict[str, Any]:
        members = [{"id": one, "joinedAt": 1} for one in ("ada", "bob") if self.dice.random() < 0.5]
        roster: dict[str, Any] = {"room": room, "version": self.dice.randrange(20), "count": 2, "members": members}
        if self.dice.random() < 0.3:
            roster["cursor"] = "c"
        if self.dice.random() < 0.3:
            roster |= {"since": self.dice.randrange(20), "left": ["bob"]}
        return roster

    def of_rooms(self) -> dict[str, Any]:
        given: dict[str, Any] = {
            "rooms": ["r"],
            "lostRooms": [["s", "kicked"]],
            "rosters": [self.roster("r")],
            "invitations": [_INVITATION],
        }
        return {name: value for name, value in given.items() if self.dice.random() < 0.5}

    def anything(self) -> bytes | str:
        retry = self.dice.choice([None, {"after": 3, "jitter": 2}])
        reason = self.dice.choice(["kicked", "timeout", "draining", "new one"])
        notifications: list[Any] = [
            {"method": "session.ended", "params": {"reason": reason, "retry": retry}},
            {"method": "session.moveOn", "params": {"after": 1, "jitter": 5, "reason": reason}},
            {"method": "session.stay"},
            {"method": "session.tokenExpiring", "params": {"expiresAt": 5}},
            {"method": "participants.changed", "params": {"participants": [_RESULT["participant"]]}},
            {"method": "participants.changed", "params": {"participants": 5}},
            {"method": "rooms.changed", "params": {**self.roster("r"), "since": 5, "joined": [], "left": []}},
            {
                "method": "rooms.changed",
                "params": {**self.roster("s"), "since": 5, "left": [["bob", "left"]], "ended": True},
            },
            {"method": "rooms.message", "params": {"room": "r", "number": self.dice.randrange(9), "message": None}},
            {"method": "rooms.left", "params": {"room": "r", "reason": "kicked"}},
            {"method": "rooms.invited", "params": {"invitation": _INVITATION}},
            {"method": "rooms.missed", "params": {"room": "r", "count": "many"}},
            {"id": 1, "result": None},
            {"id": None, "error": {"code": -32700, "message": "?"}},
            [],
            None,
        ]
        choices: list[bytes | str] = [b"\xff", "", "[" * 5000, *(json.dumps(one) for one in notifications * 2)]
        return self.dice.choice(choices)

    def take(self) -> None:
        """The books."""
        for effect in self.machine.effects():
            match effect:
                case fx.Dial(attempt):
                    assert attempt > max(one for one in self.attempts if one != _NEVER)
                    self.attempts.append(attempt)
                    self.alive.add(attempt)
                case fx.SendText(attempt, data):
                    assert attempt in self.alive, "sent on a connection that was hung up"
                    self.sent.append((attempt, json.loads(data)))
                case fx.Disconnect(attempt, code):
                    assert attempt in self.alive
                    assert code in (CloseCode.NORMAL, CloseCode.COME_BACK)
                    self.alive.discard(attempt)
                case fx.RequestToken(number, _):
                    assert self.now >= self.asked_at + 5.0 - 1e-6, "asked twice within 5 s"
                    self.asked_at = self.now
                    self.asks.append(number)
                case fx.Resolve(waiter) | fx.Reject(waiter):
                    if waiter > 0:
                        assert waiter in self.waiting, "answered twice, or after it was cancelled"
                        del self.waiting[waiter]
                case fx.StateChanged(state):
                    assert state is not self.state
                    self.state = state
        assert self.machine.state is self.state
        assert self.machine.is_open() == (self.state in (SessionState.CONNECTED, SessionState.RECONNECTING))
        assert (self.machine.participant is not None) == self.machine.is_open()
        due = self.machine.deadline()
        assert due is None or due == due

    def settle(self) -> None:
        """Close, and let time pass: everybody is answered, nothing is left over."""
        self.machine.close(self.now, self.waiter("close"))
        self.take()
        for _ in range(200):
            due = self.machine.deadline()
            if due is None:
                break
            assert due >= self.now - 60
            self.now = max(self.now, due)
            self.machine.tick(self.now)
            self.take()
        assert self.machine.deadline() is None
        assert self.machine.is_idle()
        assert not self.waiting


@pytest.mark.parametrize("seed", range(60))
def test_random_walks_never_raise_and_leave_nothing(seed: int) -> None:
    print("seed", seed)
    walker = Walker(seed)
    walker.machine.set_token(0.0, walker.token(), refreshable=True)
    for _ in range(400):
        walker.step()
    walker.settle()


def test_time_alone_never_loops() -> None:
    """Ticking at each deadline always moves time on: no timer is due for ever."""
    for seed in range(20):
        print("seed", seed)
        walker = Walker(seed)
        walker.machine.set_token(0.0, walker.token(), refreshable=True)
        walker.machine.open(0.0, walker.waiter("open"), timeout=None)
        same = 0
        for _ in range(300):
            due = walker.machine.deadline()
            if due is None:
                break
            same = same + 1 if due <= walker.now else 0
            assert same < 5, "a deadline that stays"
            walker.now = max(walker.now, due)
            walker.machine.tick(walker.now)
            walker.take()
            if walker.dice.random() < 0.3:
                for attempt in list(walker.alive):
                    walker.machine.dialed(walker.now, attempt)
                    walker.take()
                walker.answer()
                walker.take()


def test_no_token_shows_in_the_texts_of_errors() -> None:
    secret = token_text({"app": "app", "xid": "bob", "iat": _WALL, "exp": _WALL + 60})
    machine = ClientSession(_tools(random.Random(1)))
    machine.set_token(0.0, token_text({"app": "app", "xid": "ada", "iat": _WALL, "exp": _WALL + 60}), refreshable=True)
    machine.open(0.0, 1)
    error = machine.set_token(0.0, secret, refreshable=True)
    assert error is not None
    assert not any(part in str(error) for part in secret.split("."))


def test_a_message_that_is_too_long_is_the_callers_error() -> None:
    walker = _opened()
    walker.machine.update(walker.now, walker.waiter(), "n" * 40_000)
    (rejected,) = [one for one in walker.machine.effects() if isinstance(one, fx.Reject)]
    assert rejected.error.code is ErrorCode.ILLEGAL_ARGUMENT


def test_at_most_sixteen_requests_wait_for_the_service() -> None:
    walker = _opened()
    for _ in range(20):
        walker.machine.get_participant(walker.now, walker.waiter())
    sent = [json.loads(one.data) for one in walker.machine.effects() if isinstance(one, fx.SendText)]
    assert len(sent) == 16
    reply = {"jsonrpc": "2.0", "id": sent[0]["id"], "result": {"participant": _RESULT["participant"]}}
    walker.machine.message(walker.now, 1, json.dumps(reply))
    assert sum(isinstance(one, fx.SendText) for one in walker.machine.effects()) == 1


def _opened() -> Walker:
    walker = Walker(1)
    walker.machine.set_token(0.0, token_text({"app": "a", "iat": _WALL, "exp": _WALL + 3600}), refreshable=True)
    walker.machine.open(0.0, walker.waiter("open"))
    walker.machine.dialed(0.0, 1)
    walker.take()
    attempt, message = walker.sent[0]
    walker.machine.message(0.0, attempt, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": _RESULT}))
    walker.take()
    return walker
