"""What a session watches, from `resume` and `watch` to the updates it is sent."""

from __future__ import annotations

import msgspec
import pytest

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import (
    AttachRequest,
    DetachRequest,
    UnwatchRequest,
    WatchRequest,
)
from greenroom.core.watching import encode_update
from greenroom.errors import (
    ServiceUnavailableError,
)
from greenroom.model import (
    Presence,
    participant_id_of,
)
from tests.core.server.rig import (
    ANNA,
    APP,
    BOB,
    NAMESPACE,
    FakeServices,
    Rig,
    Token,
    person,
    reading,
)


def test_a_resume_reads_before_it_is_answered_and_tells_what_differs() -> None:
    carol = participant_id_of(NAMESPACE, "carol")
    rig = Rig()
    number = rig.resume(watching=[[BOB, 3], [carol, 4]], token="anna")
    call = rig.requests[0]
    assert isinstance(call, AttachRequest)
    assert (call.session_id, call.attempt) == ("p1-01", 1)
    rig.join(generation=2)
    assert rig.requests[1] == WatchRequest(APP, (ANNA, BOB, carol), {BOB: 3, carol: 4})
    rig.machine.watches.enqueue(encode_update(person(BOB, 8)))  # changed while it was read
    rig.answer([person(ANNA, 9, name="New"), person(BOB, 7), person(carol, 4)])
    result = rig.result(number)
    assert result["participant"]["version"] == 9
    assert [one["id"] for one in result["changed"]] == [BOB]
    rig.do("drained", rig.now)
    (told,) = rig.notifications("participants.changed")
    assert [(one["id"], one["version"]) for one in told["participants"]] == [(BOB, 8)]
    assert set(rig.machine.watches.ids) == {ANNA, BOB, carol}


def test_a_resume_without_the_scope_watches_only_itself() -> None:
    rig = Rig()
    rig.resume(watching=[[BOB, 3]])
    rig.join(generation=2, scopes=())
    assert rig.requests[1] == WatchRequest(APP, (ANNA,))


def test_a_resume_with_somebody_elses_token_is_parted_from_the_session() -> None:
    services = FakeServices()
    services.tokens["anonymous"] = Token()
    rig = Rig(services)
    number = rig.resume(token="anonymous")
    rig.join(generation=2)
    assert rig.error(number) == ErrorCode.TOKEN_MISMATCH
    assert rig.close_code == CloseCode.IDENTITY_MISMATCH
    assert rig.requests[-1] == DetachRequest(rig.owner, 40.0)


def test_a_resume_whose_read_fails_is_retryable_and_keeps_the_session() -> None:
    rig = Rig()
    number = rig.resume(watching=[[BOB, 3]])
    rig.join(generation=2)
    rig.answer(ServiceUnavailableError())
    assert rig.error(number) == ErrorCode.SERVICE_UNAVAILABLE
    assert rig.requests[-1] == DetachRequest(rig.owner, 40.0)
    assert rig.close_code == CloseCode.OVER_CAPACITY


def test_a_long_changed_goes_on_in_pieces() -> None:
    people = [person(participant_id_of(NAMESPACE, str(i)), 9, name="x" * 250, avatar_url="https://a/" + "y" * 1900)
              for i in range(256)]  # fmt: skip
    rig = Rig()
    number = rig.resume(watching=[[one.id, 1] for one in people])
    rig.join(generation=2)
    rig.answer([person(ANNA, 9), *people])
    told = {one["id"] for one in rig.result(number)["changed"]}
    assert 0 < len(told) < 256
    while rig.machine.watches.waiting:
        rig.do("drained", rig.now)
    for piece in rig.notifications("participants.changed"):
        assert len(msgspec.json.encode(piece)) <= 65_536
        told |= {one["id"] for one in piece["participants"]}
    assert told == {one.id for one in people}


def test_more_pairs_than_a_resume_may_carry_are_refused() -> None:
    rig = Rig()
    number = rig.resume(watching=[[f"{i}", 1] for i in range(257)])
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT


def test_watch_replies_before_it_notifies() -> None:
    rig = Rig().open()
    number = rig.send("participants.watch", ids=[BOB], externalIds=["carol"])
    carol = participant_id_of(NAMESPACE, "carol")
    assert rig.requests == [WatchRequest(APP, (BOB, carol))]
    rig.machine.watches.enqueue(encode_update(person(BOB, 7)))
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
    assert rig.machine.watches.ids == (ANNA,)
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
    assert set(rig.machine.watches.ids) == {ANNA, "c"}


def test_an_answer_too_large_to_write_is_refused_and_says_so() -> None:
    rig = Rig().open()
    number = rig.send("participants.get", ids=[BOB, "c"])
    assert rig.requests == [reading((BOB, "c"))]
    rig.answer([person("x" * 40, 1, avatar_url="y" * 120_000)] * 2)
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT
    assert "fewer" in rig.reply(number)["error"]["data"]["hint"]


def test_a_resume_watches_no_more_than_the_application_allows() -> None:
    services = FakeServices()
    services.settings(max_watched=2)
    rig = Rig(services)
    rig.resume(watching=[[f"p{number}", 1] for number in range(5)])
    rig.join(generation=2)
    assert rig.requests[1] == WatchRequest(APP, (ANNA, "p0", "p1"), {"p0": 1, "p1": 1})
    assert len(rig.machine.watches) == 3


# -- what requests cost -----------------------------------------------------------------------------------------------


def test_requests_are_charged_by_the_participants_they_name() -> None:
    """The report: 50 messages a second, each with 1,000 ids, took 36 % of a core from everybody else."""
    rig = Rig(FakeServices(ids_per_second=1000.0, ids_burst=2000)).open()
    ids = [f"{number:x}" for number in range(1000)]
    numbers = [rig.send("participants.get", ids=ids) for _ in range(6)]
    seen = []
    for _ in range(50):  # five seconds
        while rig.calls and rig.machine._current is not None:
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
