"""Rooms of the client's machine: what no scenario that both SDKs play says."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.codes import ErrorCode
from greenroom.core.client.rooms import MAX_KNOWN_BYTES, RETRY_AFTER
from greenroom.messages import MAX_MESSAGE_BYTES
from tests.support.scenarios import Player

TOKENS = {"t1": {"app": "app", "xid": "ada", "iat": 1700000000, "exp": 1700003600}}
SESSION = {"id": "p1-s1", "generation": 1, "grace": 40, "expiresAt": 1700003600000}
SAVED = {"id": "p1-s1", "secrets": ["s" * 64], "attempt": 1, "grace": 40, "info": {}, "app": "app", "externalId": "ada"}
ADA = {"id": "ada", "revision": 0, "version": 1, "presence": "online", "sessions": 1, "lastSeen": None}
RATE_LIMITED, UNAVAILABLE, ENDING, KEPT_OUT = (
    ErrorCode.RATE_LIMITED,
    ErrorCode.SERVICE_UNAVAILABLE,
    ErrorCode.ROOM_ENDING,
    ErrorCode.KEPT_OUT,
)


def member(name: str) -> dict[str, Any]:
    return {"id": name, "joinedAt": 1}


def roster(room: str, version: int, *names: str, **more: Any) -> dict[str, Any]:
    return {"room": room, "version": version, "count": len(names), "members": [member(one) for one in names], **more}


class Client:
    """A machine with an open session, and the service's side of it."""

    def __init__(self, *capabilities: str, restored: dict[str, Any] | None = None) -> None:
        """restored: what a process before this one saved; then the connection is not established yet."""
        self.player = Player({"tokens": TOKENS})
        self.attempt = 1
        self.sent: list[tuple[int, str, dict[str, Any]]] = []
        """Messages that were not answered, without pings: id, method, params."""
        self.received: list[dict[str, Any]] = []
        self.do("setToken", token="@t1")
        if restored is not None:
            self.do("restore", saved=restored)
        self.do("open", waiter=1)
        if restored is None:
            self.connect(capabilities or ("rooms",))

    def do(self, what: str, **arguments: Any) -> list[dict[str, Any]]:
        effects = self.player.play({"do": what, **arguments})
        for effect in effects:
            if effect["effect"] == "sendText":
                message = effect["message"]
                if message["method"] == "ping":
                    self.player.play(
                        {"do": "message", "attempt": effect["attempt"], "message": {"id": message["id"], "result": {}}}
                    )
                else:
                    self.sent = [one for one in self.sent if one[0] != message["id"]]
                    self.sent.append((message["id"], message["method"], message["params"]))
            elif effect["effect"] == "dial":
                self.attempt = effect["attempt"]
            elif effect["effect"] in ("notify", "resolve", "reject"):
                self.received.append(effect)
        return effects

    def connect(self, capabilities: tuple[str, ...] = ("rooms",), **more: Any) -> dict[str, Any]:
        """The dial under way succeeds, and the session is opened or resumed. Returns the hello's params."""
        self.sent.clear()
        self.do("dialed", attempt=self.attempt)
        hello = self.sent[0][2]
        result = {"session": SESSION, "participant": ADA, "scopes": ["*"], "capabilities": list(capabilities), **more}
        if "watchingRooms" in hello:
            result.setdefault("rosters", [])
        result = {name: value for name, value in result.items() if value is not None}
        self.reply(self.sent[0][1], result)
        return hello

    def dial_again(self, code: int = 1006) -> None:
        before = self.attempt
        self.do("lost", attempt=self.attempt, code=code)
        if self.attempt == before:
            self.tick()
        assert self.attempt == before + 1

    def tick(self) -> None:
        self.do("tick", at=self.player.machine.deadline())

    def message(self, **message: Any) -> None:
        self.do("message", attempt=self.attempt, message=message)

    def reply(self, method: str, result: dict[str, Any]) -> None:
        self.message(id=self._pop(method), result=result)

    def refuse(self, method: str, code: int, **data: Any) -> None:
        self.message(id=self._pop(method), error={"code": code, "message": "no", "data": data})

    def _pop(self, method: str) -> int:
        number = next(one for one, what, _ in self.sent if what == method)
        self.sent = [one for one in self.sent if one[0] != number]
        return number

    def methods(self) -> list[str]:
        return [method for _, method, _ in self.sent]

    def join(self, room: str = "r", version: int = 10, *, waiter: int = 5, watching: bool = True) -> None:
        self.do("joinRoom", waiter=waiter, room=room)
        self.reply("rooms.join", {"roster": roster(room, version, "ada"), "watching": watching})

    def is_joined(self, room: str = "r") -> bool:
        local = self.player.machine.room(room)
        return local is not None and local.is_joined

    def take(self) -> list[dict[str, Any]]:
        received, self.received = self.received, []
        return received


def test_a_repeated_join_asks_nothing_and_gives_the_same() -> None:
    client = Client()
    client.join()
    client.do("joinRoom", waiter=6, room="r")
    assert client.methods() == []
    assert [one["waiter"] for one in client.take()[1:]] == [5, 6]
    assert client.is_joined()


def test_joins_at_the_same_time_are_one_and_one_caller_may_go() -> None:
    client = Client()
    client.do("joinRoom", waiter=5, room="r")
    client.do("joinRoom", waiter=6, room="r")
    client.do("cancelRequest", waiter=5)
    assert client.methods() == ["rooms.join"]
    client.reply("rooms.join", {"roster": roster("r", 1, "ada")})
    assert client.take()[-1]["waiter"] == 6
    assert client.methods() == []


def test_a_join_that_is_refused_is_refused_to_all_who_wait_and_not_asked_again() -> None:
    client = Client()
    client.do("joinRoom", waiter=5, room="r")
    client.do("joinRoom", waiter=6, room="r")
    client.refuse("rooms.join", KEPT_OUT)
    assert [(one["waiter"], one["code"]) for one in client.take()[1:]] == [(5, KEPT_OUT), (6, KEPT_OUT)]
    assert client.methods() == []


def test_a_join_waits_for_the_leave_before_it_whatever_the_service_refuses_for_now() -> None:
    client = Client()
    client.join()
    client.do("leaveRoom", waiter=6, room="r")
    client.do("joinRoom", waiter=7, room="r")
    assert client.methods() == ["rooms.leave"]
    client.refuse("rooms.leave", RATE_LIMITED, retryAfter=3)
    assert client.methods() == []
    client.tick()
    assert client.methods() == ["rooms.leave"]
    client.reply("rooms.leave", {})
    assert client.methods() == ["rooms.join"]


def test_messages_wait_for_one_that_was_sent_too_soon() -> None:
    client = Client()
    client.join()
    client.do("sendToRoom", waiter=6, room="r", message="one")
    client.refuse("rooms.send", RATE_LIMITED, retryAfter=1)
    client.do("sendToRoom", waiter=7, room="r", message="two")
    assert client.methods() == []
    client.tick()
    assert [params["message"] for _, _, params in client.sent] == ["one"]
    client.reply("rooms.send", {})
    assert [params["message"] for _, _, params in client.sent] == ["two"]


def test_nothing_is_sent_to_a_room_in_which_the_session_is_not() -> None:
    client = Client()
    client.do("watchRoom", waiter=5, room="r")
    client.reply("rooms.watch", {"rosters": [roster("r", 1)]})
    client.do("sendToRoom", waiter=6, room="r", message=1)
    assert client.take()[-1] == {"effect": "reject", "waiter": 6, "code": -32073}
    assert client.methods() == []


def test_a_watch_that_is_cancelled_ends_with_the_next_change() -> None:
    client = Client()
    client.do("watchRoom", waiter=5, room="r")
    client.do("cancelRequest", waiter=5)
    client.reply("rooms.watch", {"rosters": [roster("r", 1)]})
    assert client.player.machine.room("r") is None
    client.message(method="rooms.changed", params={"room": "r", "version": 3, "since": 2, "count": 2})
    assert client.methods() == ["rooms.unwatch"]


def test_a_cancelled_join_does_not_end_a_watch() -> None:
    client = Client()
    client.do("watchRoom", waiter=5, room="r")
    client.reply("rooms.watch", {"rosters": [roster("r", 1)]})
    client.do("joinRoom", waiter=6, room="r")
    client.do("cancelRequest", waiter=6)
    client.reply("rooms.leave", {})
    assert client.sent[-1][2] == {"known": [["r", 1]]}


def test_a_roster_that_was_read_in_part_is_asked_for_from_the_beginning() -> None:
    client = Client()
    client.do("joinRoom", waiter=5, room="r")
    client.reply("rooms.join", {"roster": roster("r", 1, "ada", cursor="c")})
    client.dial_again()
    hello = client.connect(rooms=["r"], rosters=[roster("r", 4, "ada", cursor="d")])
    assert hello["watchingRooms"] == [["r", 0]]
    assert [params for _, _, params in client.sent] == [{"room": "r", "cursor": "d"}]
    client.reply("rooms.members", {"version": 4, "count": 2, "members": [member("bob")]})
    local = client.player.machine.room("r")
    assert local is not None
    assert (set(local.members), local.cursor) == ({"ada", "bob"}, None)


def test_a_leave_goes_on_without_its_caller_and_over_refusals_for_now() -> None:
    client = Client()
    client.join()
    client.do("leaveRoom", waiter=6, room="r")
    client.dial_again()
    client.do("cancelRequest", waiter=6)
    client.connect(rooms=["r"])
    assert client.methods() == ["rooms.leave"]
    client.refuse("rooms.leave", UNAVAILABLE)
    before = client.player.now
    client.tick()
    assert client.player.now == before + RETRY_AFTER
    client.reply("rooms.leave", {})
    client.join(waiter=7)


def test_a_leave_that_is_refused_for_now_is_refused_to_its_caller_and_goes_on() -> None:
    client = Client()
    client.join()
    client.do("leaveRoom", waiter=6, room="r")
    client.refuse("rooms.leave", UNAVAILABLE)
    assert client.take()[-1] == {"effect": "reject", "waiter": 6, "code": UNAVAILABLE}
    client.tick()
    assert client.methods() == ["rooms.leave"]


def test_who_watches_and_leaves_goes_on_watching() -> None:
    client = Client()
    client.join()
    client.do("watchRoom", waiter=6, room="r")
    assert client.methods() == []
    client.do("leaveRoom", waiter=7, room="r")
    client.reply("rooms.leave", {})
    assert client.sent[0][2] == {"known": [["r", 10]]}
    client.reply("rooms.watch", {"rosters": [roster("r", 11, since=10, left=["ada"])]})
    assert client.take()[-1]["left"] == [{"id": "ada"}]
    client.message(method="rooms.left", params={"room": "r", "reason": "kicked"})
    assert client.take() == []


def test_a_kicked_watcher_is_notified_where_watching_is_refused_too() -> None:
    client = Client()
    client.join()
    client.do("watchRoom", waiter=6, room="r")
    client.message(method="rooms.left", params={"room": "r", "reason": "kicked"})
    client.refuse("rooms.watch", -32070)
    assert [one["event"] for one in client.take()[-2:]] == ["roomLeft", "roomUnwatched"]
    assert client.player.machine.room("r") is None


def test_a_change_that_comes_before_the_reply_to_the_join_is_not_lost() -> None:
    client = Client()
    client.do("joinRoom", waiter=5, room="r")
    client.message(method="rooms.changed", params={"room": "r", "version": 3, "since": 2, "count": 2})
    client.reply("rooms.join", {"roster": roster("r", 2, "ada")})
    assert client.sent[0][2] == {"known": [["r", 2]]}
    client.reply("rooms.watch", {"rosters": [roster("r", 3, "bob", since=2, count=2)]})
    local = client.player.machine.room("r")
    assert local is not None
    assert local.version == 3


def test_a_member_that_may_not_watch_asks_for_nothing() -> None:
    client = Client()
    client.join(watching=False)
    client.dial_again()
    assert "watchingRooms" not in client.connect(rooms=["r"])
    assert client.methods() == []
    assert client.is_joined()


def test_rooms_that_the_service_could_not_watch_at_a_resume_are_asked_for_again() -> None:
    client = Client()
    client.join(version=10)
    client.dial_again()
    client.connect(rooms=["r"], rosters=None)
    assert client.sent[0][1:] == ("rooms.watch", {"known": [["r", 10]]})


def test_a_watch_that_is_refused_in_the_end_leaves_a_member_that_sees_nobody() -> None:
    client = Client()
    client.join()
    client.dial_again()
    client.connect(rooms=["r"], rosters=None)
    client.take()
    client.refuse("rooms.watch", ErrorCode.SCOPE_MISSING)
    (change,) = client.take()
    assert (change["count"], change["left"]) == (0, [{"id": "ada"}])
    local = client.player.machine.room("r")
    assert local is not None
    assert (local.is_joined, local.has_changes, local.members, local.count) == (True, False, {}, 0)
    assert client.methods() == []


def test_what_is_read_of_a_roster_that_may_not_be_seen_any_more_is_forgotten() -> None:
    client = Client()
    client.do("joinRoom", waiter=5, room="r")
    client.reply("rooms.join", {"roster": roster("r", 3, "ada", cursor="c", count=2)})
    client.message(method="rooms.unwatched", params={"room": "r", "reason": "permission_lost"})
    client.reply("rooms.members", {"version": 3, "count": 2, "members": [member("bob")]})
    local = client.player.machine.room("r")
    assert local is not None
    assert (local.members, client.methods()) == ({}, [])


def test_a_restored_session_whose_rosters_could_not_be_read_asks_for_them() -> None:
    client = Client(restored=SAVED)
    hello = client.connect(rooms=["r"])
    assert hello["rosters"] is True
    assert client.sent[0][1:] == ("rooms.watch", {"known": [["r", 0]]})
    client.do("joinRoom", waiter=5, room="r")
    assert client.take()[-1]["result"]["isJoined"]
    client.reply("rooms.watch", {"rosters": [roster("r", 4, "ada", "bob")]})
    assert [one["id"] for one in client.take()[-1]["joined"]] == ["ada", "bob"]
    assert [room.name for room in client.player.machine.joined_rooms()] == ["r"]


def test_a_node_without_rooms_says_nothing_of_them() -> None:
    client = Client()
    client.join()
    client.dial_again()
    client.connect(("attributes",))
    client.dial_again()
    client.connect(rooms=["r"])
    assert [one for one in client.take() if one.get("event") == "roomLeft"] == []


def test_a_service_that_has_no_rooms_any_more_closes_them_in_a_new_session() -> None:
    client = Client()
    client.join()
    client.do("watchRoom", waiter=6, room="r")
    client.dial_again(4005)
    client.connect(("attributes",))
    received = [one for one in client.take() if one.get("event", "").startswith("room")]
    assert [(one["event"], one["error"]["code"]) for one in received] == [
        ("roomLeft", -32093),
        ("roomUnwatched", -32093),
    ]
    assert client.methods() == []


def test_what_the_app_sends_waits_until_the_new_session_has_joined() -> None:
    client = Client()
    client.join()
    client.do("sendToRoom", waiter=6, room="r", message=1)
    client.dial_again(4005)
    client.connect()
    assert client.methods() == ["rooms.join"]
    client.refuse("rooms.join", ENDING)  # for now
    client.tick()
    client.reply("rooms.join", {"roster": roster("r", 2, "ada")})
    assert client.methods() == ["rooms.send"]


def test_a_connection_lost_while_joining_again_loses_no_room() -> None:
    client = Client()
    client.join()
    client.dial_again(4005)
    client.connect()
    client.dial_again()
    client.connect()
    assert client.methods() == ["rooms.join"]
    assert client.is_joined()


def test_a_resume_names_no_more_rooms_than_fit_and_asks_for_the_others_after_it() -> None:
    client = Client()
    names = [f"{number:02}" + '"' * 248 for number in range(32)]
    for number, name in enumerate(names):
        client.do("watchRoom", waiter=5 + number, room=name)
        client.reply("rooms.watch", {"rosters": [roster(name, 1)]})
    client.dial_again()
    hello = client.connect()
    said = [name for name, _ in hello["watchingRooms"]]
    assert said == names[: len(said)]
    assert 0 < len(str(said)) < MAX_KNOWN_BYTES < MAX_MESSAGE_BYTES
    asked = []
    while client.sent:
        asked.append(client.sent[0][2]["known"][0][0])
        client.reply("rooms.watch", {"rosters": []})
    assert asked == names[len(said) :]


def test_invitations_that_are_over_wait_no_longer() -> None:
    client = Client()
    invitation = {"id": "i1", "room": "r", "createdAt": 0, "expiresAt": 1_700_000_060_000}
    client.message(method="rooms.invited", params={"invitation": invitation})
    machine = client.player.machine
    assert [one.id for one in machine.invitations(client.player.now)] == ["i1"]
    client.player.now += 59
    assert machine.invitations(client.player.now)
    client.player.now += 2
    assert machine.invitations(client.player.now) == []


@pytest.mark.parametrize("ended", [True, False])
def test_nothing_is_left_after_the_session(ended: bool) -> None:
    client = Client()
    client.join()
    client.do("joinRoom", waiter=6, room="s")
    if ended:
        client.message(method="session.ended", params={"reason": "kicked"})
    else:
        client.do("close", waiter=7)
    machine = client.player.machine
    assert machine.room("r") is None
    assert any(one["effect"] == "reject" and one["waiter"] == 6 for one in client.take())
    client.do("joinRoom", waiter=8, room="r")
    assert client.take()[-1]["effect"] == "reject"
