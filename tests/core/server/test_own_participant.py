"""Attributes and statuses, as a client sets them: what is checked, who may, what it costs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import OpenRequest, UpdateRequest
from greenroom.core.watching import to_wire
from greenroom.errors import RevisionConflictError
from tests.core.server.rig import ANNA, APP, FakeServices, Rig, person, token_for

UPDATE = "session.updateParticipantInfo"


def test_attributes_reach_the_engine_and_come_back() -> None:
    rig = Rig().open()
    number = rig.send(UPDATE, updateId="u", attributes={"role": "nurse", "team": None})
    (request,) = rig.requests
    assert isinstance(request, UpdateRequest)
    assert (request.attributes, request.name) == ({"role": "nurse", "team": None}, None)
    rig.answer(person(ANNA, 6, revision=2, attributes={"role": "nurse"}))
    assert rig.result(number)["participant"]["attributes"] == {"role": "nurse"}


def test_an_attribute_that_is_null_is_removed_also_where_another_null_means_absent() -> None:
    rig = Rig()
    rig.hello(device=None, participant={"attributes": {"role": None, "team": "blue"}})
    (request,) = rig.requests
    assert isinstance(request, OpenRequest)
    assert request.attributes == {"role": None, "team": "blue"}


def test_nothing_of_it_is_said_of_someone_without() -> None:
    rig = Rig()
    number = rig.hello()
    rig.join()
    result = rig.result(number)
    assert not {"attributes", "status"} & (result["participant"].keys() | result["session"].keys())
    assert {"attributes", "status"} <= set(result["capabilities"])


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"role": 5}, "attributes"),
        ({"role": "x" * 1025}, "attributes.role is too long"),
        ({"": "x"}, "name of an attribute is empty"),
        (["role"], "attributes"),
    ],
)
def test_a_bad_attribute_is_refused_and_named(attributes: Any, problem: str) -> None:
    rig = Rig().open()
    number = rig.send(UPDATE, updateId="u", attributes=attributes)
    assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT
    assert problem in rig.reply(number)["error"]["message"]
    assert rig.requests == []


@pytest.mark.parametrize(("allowed", "good"), [(None, True), (("role", "team"), True), (("team",), False), ((), False)])
def test_clients_set_what_the_application_lets_them(allowed: tuple[str, ...] | None, good: bool) -> None:
    services = FakeServices()
    services.settings(client_attributes=allowed)
    rig = Rig(services).open()
    number = rig.send(UPDATE, updateId="u", name="B", attributes={"team": "blue", "role": None})
    assert bool(rig.requests) is good
    if not good:
        assert rig.error(number) == ErrorCode.ILLEGAL_ARGUMENT
        message = rig.reply(number)["error"]["message"]
        assert "Only the app's backend" in message
        assert "role" in message
        assert ("team" in message) is (allowed == ())
    opening = Rig(services)
    opened = opening.hello(participant={"attributes": {"role": "admin"}})
    assert bool(opening.requests) is good
    if not good:
        assert opening.error(opened) == ErrorCode.ILLEGAL_ARGUMENT
        assert opening.is_closed()


def test_a_reopen_goes_on_without_what_clients_may_no_longer_set() -> None:
    services = FakeServices()
    services.settings(client_attributes=("team",))
    rig = Rig(services)
    rig.hello(participant={"attributes": {"role": "admin", "team": "blue"}, "ifNew": True})
    (request,) = rig.requests
    assert isinstance(request, OpenRequest)
    assert request.attributes == {"team": "blue"}


def test_attributes_are_charged_by_their_bytes() -> None:
    """One participant with 4 KiB is what a thousand watchers get each time."""
    rig = Rig(FakeServices(ids_per_second=1000.0, ids_burst=2000)).open()
    large = dict.fromkeys("abcd", "x" * 999)  # 4,000 bytes: 1,000 of the budget
    for number in range(6):
        rig.send(UPDATE, updateId=str(number), attributes=large)
    done = []
    for _ in range(50):  # five seconds
        while rig.machine.context.pending:
            done.append(rig.mono)
            rig.answer(person(ANNA, 6))
        rig.pass_time(0.1)
        rig.machine.pong(rig.now)
    assert len(done) == 6
    assert done[1] == done[0]
    assert done[5] - done[1] == pytest.approx(4.0, abs=0.2)


def test_a_status_is_set_and_kept_for_what_is_written_back() -> None:
    rig = Rig().open()
    number = rig.send("session.setStatus", status="in surgery")
    assert rig.requests == [
        UpdateRequest(app=APP, participant_id=ANNA, owner=rig.machine.context.owner, status="in surgery")
    ]
    rig.answer(person(ANNA, 6, status="in surgery"))
    assert rig.result(number)["participant"]["status"] == "in surgery"
    held = rig.machine.context.session
    assert held is not None
    assert (held.record.status, held.participant.version) == ("in surgery", 6)
    rig.send("session.setStatus", status="available")
    rig.answer(person(ANNA, 7))
    assert held.record.status is None
    assert "status" not in rig.sent[-1]["result"]["participant"]


def test_a_resumed_session_says_its_status() -> None:
    rig = Rig()
    number = rig.resume()
    rig.join(status="away")
    rig.answer([person(ANNA, 6, status="away")])
    assert rig.result(number)["session"]["status"] == "away"


@pytest.mark.parametrize("status", ["", "x" * 65, "a\nb", 5, None])
def test_a_bad_status_is_refused(status: Any) -> None:
    rig = Rig().open()
    assert rig.error(rig.send("session.setStatus", status=status)) == ErrorCode.ILLEGAL_ARGUMENT
    assert rig.requests == []


def test_a_status_needs_the_scope_and_at_an_open_goes_without_it() -> None:
    rig = Rig().open(scopes=("notifications:set",))
    assert rig.error(rig.send("session.setStatus", status="away")) == ErrorCode.SCOPE_MISSING
    services = FakeServices()
    services.tokens["few"] = token_for("anna", scopes=("notifications:set",))
    opening = Rig(services)
    opening.hello(token="few", status="away")
    other = Rig(services)
    other.hello(status="away")
    assert [request.status for request in (opening.requests[0], other.requests[0])] == [None, "away"]


def test_an_update_carries_its_id_and_its_right() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="Ann\u0061\u0308", ifRevision=3)
    (call,) = rig.requests
    assert call == UpdateRequest(
        owner=rig.owner, app=APP, participant_id=ANNA, update_id="u1", name="Ann\u00e4", avatar_url=None, if_revision=3
    )
    rig.answer(person(ANNA, 9, name="Annä", revision=4))
    assert rig.result(number)["participant"]["revision"] == 4


def test_an_update_without_scope_names_it() -> None:
    rig = Rig().open(scopes=("notifications:set",))
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="A")
    assert rig.error(number) == ErrorCode.SCOPE_MISSING
    assert rig.reply(number)["error"]["data"]["scope"] == "session:update"


def test_a_revision_conflict_carries_the_record() -> None:
    rig = Rig().open()
    number = rig.send("session.updateParticipantInfo", updateId="u1", name="A", ifRevision=1)
    record = person(ANNA, 9, name="Anna", avatar_url="/a.png", revision=4)
    rig.answer(RevisionConflictError(participant=record))
    received = rig.reply(number)["error"]["data"]["participant"]
    assert received == json.loads(msgspec.json.encode(to_wire(record)))
    assert (received["avatarUrl"], "app" in received, "shown" in received) == ("/a.png", False, False)
