"""How a participant is named and shown in the server API."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from greenroom.errors import IllegalArgumentError
from greenroom.model import Application, ParticipantRecord, Presence, erased_subject, participant_id_of
from greenroom.server.api.common import checked_id, one_of, participant_id_for, participant_id_in, participant_view
from greenroom.server.http.problems import ProblemError
from greenroom.server.http.routes import Call

ANNA = "00000000-0000-5000-8000-00000000a44a"


APP = Application(key="app", name="App", namespace=str(UUID(int=7)))


def call() -> Call[Any, Any, Any]:
    """Of the application."""
    made: Any = SimpleNamespace(app=APP)
    return cast(Call[Any, Any, Any], made)


def test_a_path_names_a_participant_by_id_or_by_external_id() -> None:
    assert participant_id_in(call(), ANNA) == ANNA
    for external_id in ("anna", ANNA):
        assert participant_id_in(call(), f"ext:{external_id}") == participant_id_of(APP.namespace, external_id)
    assert participant_id_in(call(), erased_subject(ANNA)) == erased_subject(ANNA), "a block of who was erased"


@pytest.mark.parametrize("name", ["anna", ANNA.upper(), ANNA + "0", "", "EXT:anna", " " + ANNA])
def test_what_can_be_no_id_is_refused_with_how_external_ids_are_written(name: str) -> None:
    with pytest.raises(ProblemError) as caught:
        checked_id(name)
    assert f"write ext:{name} in a path, externalId in a body." in caught.value.problem.description


def test_a_long_name_is_not_repeated_whole() -> None:
    with pytest.raises(ProblemError) as caught:
        checked_id("x" * 5_000)
    assert len(caught.value.problem.description) < 500


@pytest.mark.parametrize("external_id", ["", "x" * 2_000, "a\x00b"])
def test_an_external_id_that_is_none_is_refused(external_id: str) -> None:
    with pytest.raises((ProblemError, IllegalArgumentError)):
        participant_id_for(call(), external_id)


def test_a_body_names_a_participant_in_one_way() -> None:
    assert one_of(call(), ANNA, None) == ANNA
    assert one_of(call(), None, "anna") == participant_id_of(APP.namespace, "anna")
    for participant_id, external_id in ((None, None), (ANNA, "anna")):
        with pytest.raises(ProblemError) as caught:
            one_of(call(), participant_id, external_id)
        assert "one of them" in caught.value.problem.description


def test_a_record_is_shown_as_it_is_and_not_as_watchers_saw_it() -> None:
    record = ParticipantRecord(
        app="app", id=ANNA, presence=Presence.UNREACHABLE, shown=Presence.ONLINE, sessions=1, name="", version=3
    )
    view = participant_view(record)
    assert (view.presence, view.status, view.name, view.attributes) == ("unreachable", "available", None, {})
    gone = participant_view(ParticipantRecord(app="app", id=ANNA, name="Anna", status="busy"))
    assert (gone.presence, gone.status, gone.name) == ("offline", None, "Anna"), "without a session there is no status"
