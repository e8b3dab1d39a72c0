"""What a session asks about participants: requests to the engine, and the replies made of its answers."""

from __future__ import annotations

from typing import Any

from greenroom.codes import ErrorCode
from greenroom.core.requests import ParticipantQuery, UnwatchRequest, WatchRequest
from greenroom.core.watching import encode_update
from greenroom.errors import ServiceUnavailableError
from greenroom.model import ParticipantRecord, Presence, participant_id_of
from tests.core.server.rig import ANNA, APP, BOB, NAMESPACE, FakeServices, Rig, person, reading


def _records(*versions: int) -> list[ParticipantRecord]:
    return [person(f"p{n}", version) for n, version in enumerate(versions)]


def _ids(result: dict[str, Any]) -> list[str]:
    return [one["id"] for one in result["participants"]]


def test_those_asked_for_are_read_and_replied_in_order() -> None:
    rig = Rig().open()
    number = rig.send("participants.get", ids=["p0", "p1"])
    assert rig.requests == [ParticipantQuery(app=APP, ids=("p0", "p1"), limit=2)]
    rig.answer(_records(1, 2))
    assert _ids(rig.result(number)) == ["p0", "p1"]


def test_a_reply_that_is_too_long_is_refused() -> None:
    rig = Rig(FakeServices(max_reply_bytes=10)).open()
    number = rig.send("participants.get", ids=["p0"])
    rig.answer(_records(1))
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT


def test_a_watch_replies_with_what_was_asked_for_and_what_differs_from_the_known() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=["p0"], known=[["p1", 2], ["p2", 2]])
    assert rig.requests == [WatchRequest(APP, ("p0", "p1", "p2"), {"p1": 2, "p2": 2})]
    assert "p1" in rig.machine.context.watches, "held until the reply is written (S12)"
    rig.answer(_records(1, 2, 3))
    assert _ids(rig.result(number)) == ["p0", "p2"]
    assert rig.machine.context.watches.sent("p1") == 2


def test_more_than_the_application_allows_are_not_watched() -> None:
    services = FakeServices()
    services.settings(max_watched=2)
    rig = Rig(services).open()
    number = rig.send("participants.watch", ids=["a", "b", "c"])
    assert rig.error(number) == ErrorCode.WATCH_LIMIT_REACHED
    assert rig.machine.context.watches.ids == (ANNA,)


def test_the_own_participant_is_watched_always() -> None:
    rig = Rig().open()
    rig.send("participants.watch", ids=["p0"])
    rig.answer(_records(1))
    rig.send("participants.unwatch", ids=["p0", ANNA, "p9"])
    assert rig.requests[-1] == UnwatchRequest(APP, ("p0",))
    assert rig.machine.context.watches.ids == (ANNA,)


def test_watch_replies_before_it_notifies() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=[BOB], externalIds=["carol"])
    carol = participant_id_of(NAMESPACE, "carol")
    assert rig.requests == [WatchRequest(APP, (BOB, carol))]
    rig.machine.context.watches.enqueue(encode_update(person(BOB, 7)))
    rig.do("drained", rig.now)
    assert not rig.sent
    rig.answer([person(BOB, 6), person(carol, 0, presence=Presence.OFFLINE)])
    assert [one["version"] for one in rig.result(number)["participants"]] == [6, 0]
    rig.do("drained", rig.now)
    assert [one["version"] for one in rig.notifications("participants.changed")[0]["participants"]] == [7]


def test_of_known_only_what_differs_is_in_the_reply() -> None:
    rig = Rig().open()
    carol = participant_id_of(NAMESPACE, "carol")
    number = rig.send("participants.watch", known=[[BOB, 6], [carol, 6]])
    rig.answer([person(BOB, 6), person(carol, 7)])
    assert [one["id"] for one in rig.result(number)["participants"]] == [carol]


def test_a_failed_watch_watches_nobody() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=[BOB])
    rig.answer(ServiceUnavailableError())
    assert rig.error(number) == ErrorCode.SERVICE_UNAVAILABLE
    assert rig.machine.context.watches.ids == (ANNA,)
    assert rig.requests[-1] == UnwatchRequest(APP, (BOB,))


def test_the_watch_limit_counts_all_but_oneself() -> None:
    services = FakeServices()
    services.settings(max_watched=2)
    rig = Rig(services).open()
    number = rig.send("participants.watch", ids=[BOB, "c", "d"])
    assert rig.error(number) == ErrorCode.WATCH_LIMIT_REACHED
    number = rig.send("participants.watch", ids=[ANNA, BOB, "c"])
    rig.answer([person(one, 1) for one in (ANNA, BOB, "c")])
    assert len(rig.result(number)["participants"]) == 3
    rig.send("participants.unwatch", ids=[BOB, ANNA])
    assert rig.requests[-1] == UnwatchRequest(APP, (BOB,))
    rig.answer(None)
    assert set(rig.machine.context.watches.ids) == {ANNA, "c"}


def test_an_answer_too_large_to_write_is_refused_and_says_so() -> None:
    rig = Rig().open()
    number = rig.send("participants.get", ids=[BOB, "c"])
    assert rig.requests == [reading((BOB, "c"))]
    rig.answer([person("x" * 40, 1, avatar_url="y" * 120_000)] * 2)
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT
    assert "fewer" in rig.reply(number)["error"]["data"]["hint"]
