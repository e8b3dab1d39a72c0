"""The three tables of states: every state can be reached, all but the last be left, and late events mean nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from greenroom.core.states import (
    CLIENT_TRANSITIONS,
    REGISTRY_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientEvent,
    RegistryEvent,
    ServerEvent,
    ServerState,
    SessionState,
    step,
)
from greenroom.model import RegistryState

Table = dict[tuple[Any, Any], Any]
TABLES: list[tuple[Table, type[StrEnum], type[StrEnum], Any, set[Any]]] = [
    (CLIENT_TRANSITIONS, SessionState, ClientEvent, SessionState.DISCONNECTED, set()),
    (SERVER_TRANSITIONS, ServerState, ServerEvent, ServerState.HELLO, {ServerState.GONE}),
    (REGISTRY_TRANSITIONS, RegistryState, RegistryEvent, RegistryState.ATTACHED, {RegistryState.CLOSED}),
]
tables = pytest.mark.parametrize(
    ("table", "states", "events", "first", "final"), TABLES, ids=["client", "server", "registry"]
)


@tables
def test_every_state_can_be_reached(
    table: Table, states: type[StrEnum], events: type[StrEnum], first: Any, final: set[Any]
) -> None:
    reached = {first}
    while found := {after for (state, _), after in table.items() if state in reached} - reached:
        reached |= found
    assert reached == set(states)


@tables
def test_only_the_final_states_have_no_way_out(
    table: Table, states: type[StrEnum], events: type[StrEnum], first: Any, final: set[Any]
) -> None:
    assert set(states) - {state for state, _ in table} == final


@tables
def test_every_event_means_something_somewhere_and_nothing_elsewhere(
    table: Table, states: type[StrEnum], events: type[StrEnum], first: Any, final: set[Any]
) -> None:
    assert {event for _, event in table} == set(events)
    for state in states:
        for event in events:
            assert step(table, state, event) is table.get((state, event))


def test_what_was_fenced_or_expired_is_never_open_again_by_accident() -> None:
    back = {pair for pair, after in SERVER_TRANSITIONS.items() if after is ServerState.OPEN}
    assert back == {
        (ServerState.JOINING, ServerEvent.JOINED),
        (ServerState.FENCED, ServerEvent.UNFENCE),
        (ServerState.EXPIRED, ServerEvent.REFRESHED),
    }
