"""What may be wrong in a cluster, in words. Pure: facts in, findings out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from greenroom.engines.base import NodeRecord
from greenroom.model import RegistryState, SessionRecord
from greenroom.server.cluster.doctor.survey import NodeAnswer
from greenroom.server.cluster.status import NodeStatus

OVERDUE = 15.0
"""Seconds beyond the longest grace after which a detached session is a ghost."""
LAG = 5.0
"""Seconds of reaper lag from which on it is a finding."""
MAX_CLOCK_DIFFERENCE = 5.0


class Severity(StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    """Something is wrong now."""
    WARNING = "warning"
    """Something may go wrong."""


class Repair(StrEnum):
    """What `--repair` does about it."""

    DETACH = "detach"
    """The session is detached, by exact generation and lease: its client may resume it, else it ends in its grace."""
    COMPARE = "let the node compare"
    """The node compares at once what it holds with what is listed (S7), and acquires, drops or ends accordingly."""
    REAP = "reap"
    """The reaper runs once more."""
    SETTLE = "settle"
    """Sessions and rosters are compared at once, and rosters follow (R10)."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. code: stable, for programs. subject: a node's name or a session's id."""

    code: str
    severity: Severity
    subject: str
    text: str
    hint: str = ""
    repair: Repair | None = None
    generation: int = 0
    lease: str = ""
    node: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it the same finding at a second look."""
        return self.code, self.subject, self.generation


def about_sessions(
    sessions: Iterable[SessionRecord],
    nodes: Sequence[NodeRecord],
    answers: Mapping[str, NodeAnswer],
    *,
    now: int,
    grace: float,
) -> Iterator[Finding]:
    """Registry against leases against sockets. now: the engine's, Unix ms. grace: the longest, seconds."""
    alive = {one.lease for one in nodes if one.lease_left > 0}
    listed: dict[str, SessionRecord] = {}
    for session in sessions:
        listed[session.id] = session
        if session.state is RegistryState.DETACHED:
            yield from _overdue(session, now, grace)
        elif session.lease not in alive:
            yield _owner_dead(session)
        else:
            yield from _without_socket(session, answers.get(session.node))
    for name, answer in answers.items():
        yield from _unlisted(name, answer, listed)


def _overdue(session: SessionRecord, now: int, grace: float) -> Iterator[Finding]:
    late = (now - (session.detached_at or now)) / 1000 - grace - OVERDUE
    if late > 0:
        yield Finding(
            code="session_overdue", severity=Severity.PROBLEM, subject=session.id, generation=session.generation,
            text=f"It was detached {late + grace + OVERDUE:.0f} s ago and has not ended.",
            hint="No node runs its reaper, or the engine was unavailable. See the reaper lag in `greenroom nodes`.",
            repair=Repair.REAP,
        )  # fmt: skip


def _owner_dead(session: SessionRecord) -> Finding:
    return Finding(
        code="session_owner_dead", severity=Severity.PROBLEM, subject=session.id, generation=session.generation,
        lease=session.lease, node=session.node,
        text=f"It is attached to {session.node}, whose lease has expired.",
        hint="The next reaper pass of any node detaches it; if this stays, no node runs its reaper.",
        repair=Repair.DETACH,
    )  # fmt: skip


def _without_socket(session: SessionRecord, answer: NodeAnswer | None) -> Iterator[Finding]:
    if answer is None or answer.held is None or session.id in answer.held:
        return
    yield Finding(
        code="session_without_socket", severity=Severity.PROBLEM, subject=session.id, generation=session.generation,
        lease=session.lease, node=session.node,
        text=f"It is attached to {session.node}, which has no connection for it.",
        hint="The node detaches it at its second comparison, about 20 s later.",
        repair=Repair.DETACH,
    )  # fmt: skip


def _unlisted(name: str, answer: NodeAnswer, listed: Mapping[str, SessionRecord]) -> Iterator[Finding]:
    for session_id, generation in (answer.held or {}).items():
        session = listed.get(session_id)
        right = (RegistryState.ATTACHED, name, generation)
        if session is not None and (session.state, session.node, session.generation) == right:
            continue
        what = (
            "which the registry does not list"
            if session is None
            else f"which is {session.state.value} at {session.node} with generation {session.generation}"
        )
        yield Finding(
            code="socket_without_session", severity=Severity.PROBLEM, subject=session_id, generation=generation,
            node=name,
            text=f"{name} has a connection for it (generation {generation}), {what}.",
            hint="The node corrects it at its next comparison, within 10 s.",
            repair=Repair.COMPARE,
        )  # fmt: skip


def about_rooms(
    sessions: Iterable[SessionRecord], rosters: Mapping[tuple[str, str], Collection[str]]
) -> Iterator[Finding]:
    """Rows are the truth, and rosters follow (R2). rosters: ids of the members, by application and room."""
    wanted = {(one.app, room, one.participant_id) for one in sessions for room in one.rooms}
    present = {(app, room, member) for (app, room), members in rosters.items() for member in members}
    for app, room, participant_id in sorted(wanted - present):
        text = f"A session of {participant_id} is in the room {room!r} of {app}, whose roster does not have it."
        yield _member("member_missing", app, room, participant_id, text)
    for app, room, participant_id in sorted(present - wanted):
        text = f"The roster of {room!r} of {app} has {participant_id}, no session of which is in the room."
        yield _member("member_without_session", app, room, participant_id, text)


def _member(code: str, app: str, room: str, participant_id: str, text: str) -> Finding:
    subject = f"{app} {room} {participant_id}"
    return Finding(code=code, severity=Severity.PROBLEM, subject=subject, text=text, repair=Repair.SETTLE)


def about_nodes(nodes: Sequence[NodeRecord], answers: Mapping[str, NodeAnswer]) -> Iterator[Finding]:
    """Leases, readiness, versions, clocks, and settings that have to be the same."""
    alive = [one for one in nodes if one.lease_left > 0]
    if not any(one.ready and not one.draining for one in alive):
        yield _node("no_node_ready", Severity.PROBLEM, "cluster", "No node is ready: no session can be opened.")
    for one in nodes:
        if one.lease_left <= 0:
            text = f"Its lease expired {-one.lease_left:.0f} s ago."
            hint = "It was killed, is paused, or cannot reach the engine."
            yield _node("node_dead", Severity.WARNING, one.node, text, hint)
        elif one.node not in answers:
            yield _node("node_silent", Severity.WARNING, one.node, "It has a lease and did not answer the survey.")
    for answer in answers.values():
        yield from _about_status(answer.status)
    yield from _differences([answer.status for answer in answers.values()])


def _about_status(report: NodeStatus) -> Iterator[Finding]:
    name = report.node
    if report.not_ready is not None:
        yield _node("node_not_ready", Severity.WARNING, name, f"It is not ready: {report.not_ready}.")
    if abs(report.clock_difference) > MAX_CLOCK_DIFFERENCE / 2:
        yield _node(
            "clock_skew",
            Severity.PROBLEM if abs(report.clock_difference) > MAX_CLOCK_DIFFERENCE else Severity.WARNING,
            name,
            f"Its clock differs from the engine's by {report.clock_difference:+.1f} s.",
            "Run NTP on both machines.",
        )
    if report.reaper_failing:
        yield _node("reaper_failing", Severity.PROBLEM, name, f"Its reaper fails: {report.reaper_failing}")
    elif report.reaper_lag > LAG:
        yield _node("reaper_lag", Severity.WARNING, name, f"Its reaper is {report.reaper_lag:.0f} s behind.")
    if report.rooms_failing:
        yield _node("rooms_failing", Severity.PROBLEM, name, f"Its passes over rooms fail: {report.rooms_failing}")
    elif report.rooms_lag > LAG:
        yield _node("rooms_lag", Severity.WARNING, name, f"Rosters are {report.rooms_lag:.0f} s behind sessions.")
    for one in report.key_sets_failing:
        had = "None was ever fetched" if one.age is None else f"The last good one is {one.age:.0f} s old"
        yield _node(
            "key_set_failing",
            Severity.PROBLEM if one.age is None else Severity.WARNING,
            f"{one.app} {one.issuer}",
            f"{name} could not fetch its key set {one.failures} times in a row: {one.why}. {had}.",
            "Tokens of the issuer are refused without one. See: greenroom apps issuers list.",
        )
    if report.kept_writes:
        text = f"{report.kept_writes} ends and detaches of sessions wait until the engine is available."
        yield _node("writes_kept", Severity.WARNING, name, text)


def _differences(reports: Sequence[NodeStatus]) -> Iterator[Finding]:
    versions = {one.version for one in reports}
    if len(versions) > 1:
        text = f"Nodes run versions {', '.join(sorted(versions))}."
        yield _node("versions_differ", Severity.WARNING, "cluster", text, "This is normal only during an upgrade.")
    for name in sorted({name for one in reports for name in one.settings}):
        values: dict[str, list[str]] = {}
        for one in reports:
            if name in one.settings:
                values.setdefault(one.settings[name], []).append(one.node)
        if len(values) > 1:
            said = "; ".join(f"{value} on {', '.join(sorted(nodes))}" for value, nodes in sorted(values.items()))
            text = f"Its value is not the same on all nodes: {said}."
            yield _node("settings_differ", Severity.PROBLEM, name, text, _WHY.get(name, ""))


_WHY = {
    "master_key": "A node with another master key can neither read the signing keys nor check app secrets.",
    "issuer": "Each node refuses the tokens of the other. Set issuer, or public_url, to the same on all.",
}


def about_durability(lines: Sequence[str]) -> Iterator[Finding]:
    """What the engine says that it may lose."""
    for line in lines:
        if "may be lost" in line:
            yield _node("durability", Severity.WARNING, "engine", line, "See docs/reference/redis.md.")


def recovering() -> Finding:
    """The engine has lost its state."""
    return _node(
        "engine_recovering", Severity.PROBLEM, "engine", "The engine has no state, or lost it.",
        "Each running node writes back what it holds: start one.",
    )  # fmt: skip


def _node(code: str, severity: Severity, subject: str, text: str, hint: str = "") -> Finding:
    return Finding(code=code, severity=severity, subject=subject, text=text, hint=hint)
