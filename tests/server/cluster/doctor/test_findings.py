"""What the doctor says, from facts alone."""

from __future__ import annotations

import msgspec

from greenroom.engines.base import NodeRecord
from greenroom.model import RegistryState, SessionRecord
from greenroom.server.cluster.doctor.findings import (
    Finding,
    Repair,
    Severity,
    about_durability,
    about_nodes,
    about_rooms,
    about_sessions,
)
from greenroom.server.cluster.doctor.survey import NodeAnswer
from greenroom.server.cluster.status import KeySetStatus, NodeStatus

NOW = 1_700_000_000_000
GRACE = 40.0
ONE = NodeRecord(node="one", boot="b", lease="lease-one", lease_left=8.0)
TWO = NodeRecord(node="two", boot="b", lease="lease-two", lease_left=8.0)
SESSION = SessionRecord(id="p1-a", app="app", participant_id="anna", node="one", lease="lease-one", generation=3)
REPORT = NodeStatus(
    node="one", boot="b", version="1", state="acting", not_ready=None, sessions=1, connections=1, kept_writes=0,
    clock_difference=0.0, reaper_lag=0.0, reaper_failing="", uptime=1.0, settings={"grace": "40.0"},
)  # fmt: skip


def report(**more: object) -> NodeStatus:
    return msgspec.structs.replace(REPORT, **more)


def answer(*held: tuple[str, int], **more: object) -> NodeAnswer:
    return NodeAnswer(report(**more), dict(held))


def codes(found: list[Finding]) -> list[str]:
    return [one.code for one in found]


def sessions(*records: SessionRecord, **answers: NodeAnswer) -> list[Finding]:
    return list(about_sessions(records, (ONE, TWO), answers, now=NOW, grace=GRACE))


def test_what_agrees_is_no_finding() -> None:
    assert sessions(SESSION, one=answer(("p1-a", 3)), two=answer()) == []


def test_a_session_whose_node_has_no_connection_for_it() -> None:
    (found,) = sessions(SESSION, one=answer(), two=answer())
    assert found.code == "session_without_socket"
    assert (found.generation, found.lease) == (3, "lease-one")


def test_nothing_is_said_of_the_sockets_of_a_node_that_did_not_answer() -> None:
    assert sessions(SESSION, two=answer()) == []


def test_a_connection_is_only_right_where_the_session_is_attached_at_this_node_and_generation() -> None:
    moved = msgspec.structs.replace(SESSION, node="two", lease="lease-two", generation=4)
    stale = sessions(moved, one=answer(("p1-a", 3)), two=answer(("p1-a", 4)))
    assert codes(stale) == ["socket_without_session"]
    detached = msgspec.structs.replace(SESSION, state=RegistryState.DETACHED, detached_at=NOW)
    assert codes(sessions(detached, one=answer(("p1-a", 3)))) == ["socket_without_session"]
    assert codes(sessions(one=answer(("p1-a", 3)))) == ["socket_without_session"]


def test_a_session_under_a_lease_that_is_over() -> None:
    dead = msgspec.structs.replace(SESSION, lease="lease-of-yesterday")
    assert codes(sessions(dead, one=answer(("p1-a", 3)))) == ["session_owner_dead"]


def test_a_ghost_is_what_is_detached_for_longer_than_any_grace() -> None:
    detached = msgspec.structs.replace(SESSION, state=RegistryState.DETACHED, detached_at=NOW - 54_000)
    assert sessions(detached) == []
    assert codes(sessions(msgspec.structs.replace(detached, detached_at=NOW - 56_000))) == ["session_overdue"]


def test_nodes() -> None:
    two = answer(node="two")
    assert list(about_nodes((ONE, TWO), {"one": answer(), "two": two})) == []
    assert codes(list(about_nodes((ONE, TWO), {"one": answer()}))) == ["node_silent"]
    dead = msgspec.structs.replace(TWO, lease_left=-3.0)
    assert codes(list(about_nodes((ONE, dead), {"one": answer()}))) == ["node_dead"]
    assert codes(list(about_nodes((dead,), {}))) == ["no_node_ready", "node_dead"]


def test_what_a_node_says_of_itself() -> None:
    sick = answer(not_ready="fenced", clock_difference=6.0, reaper_lag=9.0, kept_writes=2)
    found = list(about_nodes((ONE,), {"one": sick}))
    assert codes(found) == ["node_not_ready", "clock_skew", "reaper_lag", "writes_kept"]
    assert [one.severity.value for one in found] == ["warning", "problem", "warning", "warning"]


def test_key_sets_that_a_node_cannot_fetch() -> None:
    old = KeySetStatus(app="app", issuer="iss_1", age=7200.4, failures=9, why="status 503")
    never = KeySetStatus(app="app", issuer="iss_2", age=None, failures=1, why="the issuer's name has no address")
    [one, two] = about_nodes((ONE,), {"one": answer(key_sets_failing=(old, never))})
    assert (one.code, one.severity, one.subject) == ("key_set_failing", Severity.WARNING, "app iss_1")
    assert "9 times in a row: status 503. The last good one is 7200 s old." in one.text
    assert (two.severity, "None was ever fetched." in two.text) == (Severity.PROBLEM, True)


def test_nodes_that_differ() -> None:
    other = answer(node="two", version="2", settings={"grace": "30.0"})
    found = list(about_nodes((ONE, TWO), {"one": answer(), "two": other}))
    assert codes(found) == ["versions_differ", "settings_differ"]
    assert found[1].text == "Its value is not the same on all nodes: 30.0 on two; 40.0 on one."


def test_durability_repeats_what_may_be_lost() -> None:
    lines = (
        "Redis 7.0 at …",
        "Restart of Redis: nothing that was acknowledged is lost.",
        "Failover: … may be lost (…).",
    )
    assert [one.text for one in about_durability(lines)] == [lines[2]]


def test_rosters_that_differ_from_sessions_are_findings_that_can_be_settled() -> None:
    anna = msgspec.structs.replace(SESSION, rooms=("standup", "lobby"))
    assert list(about_rooms([anna], {("app", "standup"): {"anna"}, ("app", "lobby"): ["anna"]})) == []
    missing, ghost = about_rooms([anna], {("app", "standup"): {"anna", "bob"}})
    assert (missing.code, missing.subject, missing.repair) == ("member_missing", "app lobby anna", Repair.SETTLE)
    assert (ghost.code, ghost.subject, ghost.repair) == ("member_without_session", "app standup bob", Repair.SETTLE)


def test_passes_over_rooms_that_fail_or_are_behind_are_findings() -> None:
    assert codes(list(about_nodes((ONE,), {"one": answer(rooms_failing="no")}))) == ["rooms_failing"]
    assert codes(list(about_nodes((ONE,), {"one": answer(rooms_lag=6.0)}))) == ["rooms_lag"]
    assert codes(list(about_nodes((ONE,), {"one": answer(rooms_lag=4.0)}))) == []
