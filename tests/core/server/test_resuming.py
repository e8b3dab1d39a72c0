"""`session.resume`: the session comes to another connection, with its watches."""

from __future__ import annotations

import msgspec

from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.requests import AttachRequest, DetachRequest, Owner, WatchRequest
from greenroom.core.watching import encode_update
from greenroom.errors import ServiceUnavailableError, SessionEndedError
from greenroom.model import participant_id_of
from tests.core.server.rig import ANNA, APP, BOB, NAMESPACE, FakeServices, Rig, Token, person


def test_a_link_lost_during_a_resume_leaves_the_full_grace() -> None:
    rig = Rig()
    rig.resume()
    rig.lost(1006)
    rig.join(generation=2)
    assert rig.requests[-1] == DetachRequest(Owner("p1-01", 2, "lease-1"), 40.0)


def test_a_resume_that_the_engine_refused_counts_for_its_address() -> None:
    rig = Rig()
    rig.resume()
    rig.answer(SessionEndedError(code=ErrorCode.RESUME_REFUSED))
    assert rig.services.failed_resumes == ["192.0.2.1"]
    rig.resume()
    rig.answer(ServiceUnavailableError())
    assert rig.services.failed_resumes == ["192.0.2.1"]


def test_a_resume_that_succeeds_counts_for_its_session() -> None:
    rig = Rig()
    rig.resume()
    rig.join(generation=2)
    assert (rig.services.resumed, rig.services.failed_resumes) == (["p1-01"], [])


def test_a_resume_reads_before_it_is_answered_and_sends_what_differs() -> None:
    carol = participant_id_of(NAMESPACE, "carol")
    rig = Rig()
    number = rig.resume(watching=[[BOB, 3], [carol, 4]], token="anna")
    call = rig.requests[0]
    assert isinstance(call, AttachRequest)
    assert (call.session_id, call.attempt) == ("p1-01", 1)
    rig.join(generation=2)
    assert rig.requests[1] == WatchRequest(APP, (ANNA, BOB, carol), {BOB: 3, carol: 4})
    rig.machine.context.watches.enqueue(encode_update(person(BOB, 8)))  # changed while it was read
    rig.answer([person(ANNA, 9, name="New"), person(BOB, 7), person(carol, 4)])
    result = rig.result(number)
    assert result["participant"]["version"] == 9
    assert [one["id"] for one in result["changed"]] == [BOB]
    rig.do("drained", rig.now)
    (received,) = rig.notifications("participants.changed")
    assert [(one["id"], one["version"]) for one in received["participants"]] == [(BOB, 8)]
    assert set(rig.machine.context.watches.ids) == {ANNA, BOB, carol}


def test_a_resume_without_the_scope_watches_only_itself() -> None:
    rig = Rig()
    rig.resume(watching=[[BOB, 3]])
    rig.join(generation=2, scopes=())
    assert rig.requests[1] == WatchRequest(APP, (ANNA,))


def test_a_resume_with_someone_elses_token_is_parted_from_the_session() -> None:
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
    received = {one["id"] for one in rig.result(number)["changed"]}
    assert 0 < len(received) < 256
    while rig.machine.context.watches.waiting:
        rig.do("drained", rig.now)
    for piece in rig.notifications("participants.changed"):
        assert len(msgspec.json.encode(piece)) <= 65_536
        received |= {one["id"] for one in piece["participants"]}
    assert received == {one.id for one in people}


def test_more_pairs_than_a_resume_may_carry_are_refused() -> None:
    rig = Rig()
    number = rig.resume(watching=[[f"{i}", 1] for i in range(257)])
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT


def test_a_resume_watches_no_more_than_the_application_allows() -> None:
    services = FakeServices()
    services.settings(max_watched=2)
    rig = Rig(services)
    rig.resume(watching=[[f"p{number}", 1] for number in range(5)])
    rig.join(generation=2)
    assert rig.requests[1] == WatchRequest(APP, (ANNA, "p0", "p1"), {"p0": 1, "p1": 1})
    assert len(rig.machine.context.watches) == 3
