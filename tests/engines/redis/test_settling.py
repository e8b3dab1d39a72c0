"""Rosters follow rows (R2): what becomes of a part, whoever answers and whoever does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from greenroom.core.rooms.requests import MembershipLost
from greenroom.engines.redis.arguments import ABSENT
from greenroom.engines.redis.counts import Counts
from greenroom.engines.redis.errors import unreachable
from greenroom.engines.redis.settling import (
    LONGEST_PAUSE,
    RETRY_MS,
    ROUNDS,
    Outcome,
    Pair,
    Part,
    Settling,
    drops_of,
    pairs_of,
    parts_of,
)
from greenroom.engines.redis.store import FunctionCall
from greenroom.model import PARTITIONS, partition_of, partition_of_room
from tests.support.sim.loop import in_virtual_time

ANNA = Part("app", "anna", "lobby", 5, "left", "+p1-s", ("", "Anna", "", "", "", "2"))
HERE, ROOM = f"p{partition_of('app', 'anna')}", f"p{partition_of_room('app', 'lobby')}"
READ = [b"app", b"anna", b"lobby", b"5", b"left", b"+p1-s", [b"", b"Anna", b"", b"", b"", b"2"]]
TAKEN = [b"ok", [[b"taken"]], None, [b"app", 7]]


class Redis:
    """Answers as a test says, and keeps what it was asked; nothing is left to do by default."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"room_done": [b"ok"], "room_hold": [b"ok"], "room_compare_again": [b"ok"]} | answers
        self.calls: list[FunctionCall] = []
        self.away: set[str] = set()

    def begin(self, call: FunctionCall, answer: Callable[[Any], None]) -> None:
        self.calls.append(call)
        reply = unreachable("away") if call.tag in self.away else self.answers[call.function]
        asyncio.get_running_loop().call_soon(answer, reply)

    async def call_many(self, calls: list[FunctionCall]) -> list[Any]:
        self.calls += calls
        return [self.answers[call.function] for call in calls]

    def asked(self, function: str) -> list[Any]:
        """The arguments of its calls, with their partition."""
        return [
            (call.tag, msgspec.json.decode(call.argument) if isinstance(call.argument, bytes) else call.argument)
            for call in self.calls
            if call.function == function
        ]


def settling(redis: Redis) -> Any:
    store: Any = redis
    return Settling(store, lambda app: None, Counts(store, "room_counts"))


def test_what_the_functions_read_is_taken_apart() -> None:
    assert parts_of([READ]) == [ANNA]
    assert (ANNA.mark, f"p{ANNA.partition}", f"p{ANNA.room_partition}") == ("3:app:anna\0lobby", HERE, ROOM)
    assert pairs_of([[b"app", b"anna", b"lobby", [b"s"]]]) == [Pair("app", "anna", "lobby", ("s",))]
    assert drops_of([[b"app", b"anna", b"lobby", b"5", b"kicked"]])[0].upto == 5


@pytest.mark.parametrize("reading", [READ[:-1], [*READ, b"more"], [*READ[:3], b"x", *READ[4:]]])
def test_a_reading_of_another_shape_is_an_error(reading: list[Any]) -> None:
    with pytest.raises(ValueError):
        parts_of([reading])


async def test_what_a_room_takes_is_done_and_its_mark_goes() -> None:
    redis = Redis(room_take=TAKEN)
    one = settling(redis)
    assert await one.settle([ANNA]) == {ANNA.mark: Outcome("taken")}
    assert redis.asked("room_done") == [(HERE, (ANNA.mark, 5, ABSENT))]
    assert (one.settled, one.lost()) == (1, ())
    ((tag, texts),) = redis.asked("room_take")
    assert (tag, texts[:7]) == (ROOM, (ABSENT, "app", "lobby", "anna", 5, "left", "+p1-s"))
    assert msgspec.json.decode(texts[9]) == {"id": "anna", "name": "Anna", "avatar_url": ""}


async def test_of_who_has_left_nothing_more_is_said_and_the_row_may_go() -> None:
    redis = Redis(room_take=TAKEN)
    await settling(redis).settle([ANNA._replace(sessions="")])
    ((_, texts),) = redis.asked("room_take")
    assert texts[7:] == (ABSENT,) * 9
    assert redis.asked("room_done") == [(HERE, (ANNA.mark, 5, "1"))]


async def test_what_a_room_refuses_the_row_drops_and_the_nodes_learn_it() -> None:
    lost = [b"p1-s", b"n1", b"3", b"lobby", b"full"]
    redis = Redis(room_take=[b"ok", [[b"refused", b"full", b"99"]], None, []], room_drop=[b"ok", [], lost])
    one = settling(redis)
    assert await one.settle([ANNA]) == {ANNA.mark: Outcome("refused", "full", 99)}
    assert redis.asked("room_drop") == [(HERE, {"items": [[ANNA.mark, 5, "full"]]})]
    assert one.lost() == (MembershipLost("p1-s", "n1", 3, "lobby", "full"),)
    assert one.lost() == (), "once"


async def test_a_part_that_is_behind_is_numbered_above_and_read_again_a_bounded_number_of_times() -> None:
    redis = Redis(room_take=[b"ok", [[b"behind", b"8"]], None, []], room_renumber=[b"ok", [READ]])
    (verdict,) = (await settling(redis).settle([ANNA])).values()
    assert (verdict.kind, getattr(verdict.error, "retry_after", None)) == ("failed", 1.0)
    assert redis.asked("room_renumber") == [(HERE, {"items": [[ANNA.mark, 5, 8]]})] * ROUNDS


async def test_a_mark_whose_room_is_away_waits_as_long_as_that_is_left_alone() -> None:
    redis = Redis()
    redis.away = {ROOM}
    one = settling(redis)
    (verdict,) = (await one.settle([ANNA])).values()
    assert verdict.kind == "failed"
    assert redis.asked("room_hold") == [(HERE, {"marks": [ANNA.mark], "ms": 1000})]
    assert one.settled == 0


async def test_a_mark_that_could_not_be_removed_is_not_settled() -> None:
    redis = Redis(room_take=TAKEN)
    redis.away = {HERE}
    one = settling(redis)
    (verdict,) = (await one.settle([ANNA])).values()
    assert (verdict.kind, one.settled) == ("failed", 0)


def test_a_partition_that_does_not_answer_is_left_alone_for_longer_each_time() -> None:
    async def life() -> None:
        redis, loop = Redis(room_read=[b"ok", []]), asyncio.get_running_loop()
        redis.away = {"p3"}
        one, pauses = settling(redis), []
        call = FunctionCall("room_read", "p3", b"{}")
        for _ in range(8):
            await one.ask([call, call])
            assert one.is_away(3)
            assert not one.is_away(4)
            until = one._away[3][0]
            pauses.append(until - loop.time())
            await asyncio.sleep(until - loop.time() + 0.001)
            assert not one.is_away(3)
        assert [round(pause) for pause in pauses] == [1, 2, 4, 8, 16, 32, 60, LONGEST_PAUSE]
        assert not one.is_doubtful
        redis.away = set()
        await one.ask([call])
        assert one.is_doubtful, "another master may answer now"
        assert not one._away

    in_virtual_time(life())


async def test_marks_of_one_turn_are_read_together_and_once() -> None:
    redis = Redis(room_read=[b"ok", []])
    one = settling(redis)
    one.begin(3, [])
    await one.idle()
    for marks in ([b"a", b"b"], [b"a"]):
        one.begin(3, marks)
    one.begin(4, [b"c"])
    await one.idle()
    assert redis.asked("room_read") == [("p3", {"marks": ["a", "b"]}), ("p4", {"marks": ["c"]})]
    one.begin(3, [b"d"])
    await one.stop()


async def test_rows_that_rosters_do_not_say_are_marked_and_members_without_a_row_are_checked() -> None:
    pair, other = Pair("app", "anna", "lobby", ("p1-s",)), Pair("app", "bob", "lobby", ())
    redis = Redis(room_differs=[b"ok", [1]], room_mark=[b"ok", [READ]], room_check=[b"ok", []], room_take=TAKEN)
    one = settling(redis)
    found = await one.compare({1: [pair, pair._replace(participant_id="carol")]}, {2: [other]})
    assert found == 1
    assert redis.asked("room_mark") == [(HERE, {"marks": [pair.mark]})]
    assert redis.asked("room_check") == [(f"p{partition_of('app', 'bob')}", {"marks": [other.mark]})]
    assert (one.settled, redis.asked("room_compare_again")) == (1, [])


async def test_a_comparison_that_had_no_answer_begins_again_later() -> None:
    redis = Redis()
    redis.away = {ROOM, f"p{partition_of('app', 'bob')}"}
    one = settling(redis)
    pairs = {1: [Pair("app", "anna", "lobby", ())]}, {2: [Pair("app", "bob", "lobby", ())]}
    assert await one.compare(*pairs) == 0
    assert sorted(redis.asked("room_compare_again")) == [("p1", {"ms": RETRY_MS}), ("p2", {"ms": RETRY_MS})]


async def test_all_is_compared_again_as_long_as_one_partition_did_not_answer() -> None:
    redis = Redis()
    one = settling(redis)
    one.doubt()
    redis.away = {"p9"}
    await one.compare_again()
    assert one.is_doubtful
    redis.away = set()
    await one.compare_again()
    assert one.is_doubtful, "another master may answer for it now"
    await one.compare_again()
    assert not one.is_doubtful
    assert len(redis.asked("room_compare_again")) == 3 * PARTITIONS


async def test_r8_kicks_that_a_partition_lost_are_put_back() -> None:
    redis = Redis(put_kicks=[b"ok"])
    one = settling(redis)
    assert one.last_kick(3) == 0
    one.keep_kicks(3, [b"7", [b"3:app:lobby\0anna", b"99"]])
    one.keep_kicks(3, [])
    one.keep_kicks(4, [b"2", []])
    assert (one.last_kick(3), one.last_kick(4)) == (7, 2)
    await one.put_back_kicks()
    assert redis.asked("put_kicks") == [("p3", {"items": [["3:app:lobby\0anna", 99]]})]
