"""Gathers the facts, twice where something looks wrong: what is in flight is not a finding. Repairs on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from greenroom.core.commands import CompareCommand
from greenroom.core.requests import Owner
from greenroom.core.rooms.requests import RoomQuery, RosterQuery
from greenroom.engines import paging
from greenroom.engines.base import BeatResult, Engine, NodeBeat, NodeRecord, SessionQuery
from greenroom.errors import GreenroomError, RoomsUnavailableError
from greenroom.model import SessionRecord
from greenroom.server.cluster.doctor.findings import (
    Finding,
    Repair,
    about_durability,
    about_nodes,
    about_rooms,
    about_sessions,
    recovering,
)
from greenroom.server.cluster.doctor.survey import NodeAnswer, Survey

SECOND_LOOK = 2.0
"""Seconds between two looks: longer than anything is in flight."""
PAGE = 500
DOCTOR = "doctor"
MAX_PASSES = 100
"""Over rooms, in one repair."""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, and what was found. silent: nodes with a lease that did not answer."""

    nodes: tuple[NodeRecord, ...]
    sessions: int
    sockets: int | None
    """None: nobody was asked, or there was nobody to ask."""
    silent: tuple[str, ...]
    durability: tuple[str, ...]
    findings: tuple[Finding, ...]


class SurveyedCluster(Protocol):
    """What an examination needs of the node it runs on."""

    @property
    def engine(self) -> Engine: ...
    @property
    def survey(self) -> Survey: ...
    def known_nodes(self) -> Sequence[NodeRecord]:
        """As the last beat listed them, this one too."""

    def engine_now(self) -> int:
        """Unix ms."""

    @property
    def longest_grace(self) -> float:
        """Seconds."""


class _Look(msgspec.Struct, frozen=True):
    nodes: tuple[NodeRecord, ...]
    answers: Mapping[str, NodeAnswer]
    sessions: tuple[SessionRecord, ...]
    findings: tuple[Finding, ...]


async def examine(cluster: SurveyedCluster) -> Examination:
    """The whole cluster, from a node that runs. Raises ServiceUnavailableError where the engine is away."""
    look = await _look(cluster)
    found = look.findings
    if found:
        await asyncio.sleep(SECOND_LOOK)
        look = await _look(cluster)
        before = {one.key for one in found}
        found = tuple(one for one in look.findings if one.key in before)
    durability = await cluster.engine.durability()
    return Examination(
        nodes=look.nodes,
        sessions=len(look.sessions),
        sockets=sum(len(one.held or ()) for one in look.answers.values()),
        silent=tuple(one.node for one in look.nodes if one.lease_left > 0 and one.node not in look.answers),
        durability=durability,
        findings=(*about_nodes(look.nodes, look.answers), *found, *about_durability(durability)),
    )


async def _look(cluster: SurveyedCluster) -> _Look:
    nodes = tuple(cluster.known_nodes())
    answers = await cluster.survey.ask([one.node for one in nodes if one.lease_left > 0], sockets=True)
    sessions = await all_sessions(cluster.engine)
    found = about_sessions(sessions, nodes, answers, now=cluster.engine_now(), grace=cluster.longest_grace)
    in_rooms = about_rooms(sessions, await all_rosters(cluster.engine, sessions))
    return _Look(nodes, answers, sessions, (*found, *in_rooms))


async def all_sessions(engine: Engine) -> tuple[SessionRecord, ...]:
    """Of all applications."""
    return tuple([session async for session in paging.all_sessions(engine.registry, SessionQuery(limit=PAGE))])


async def all_rosters(engine: Engine, sessions: Sequence[SessionRecord]) -> dict[tuple[str, str], set[str]]:
    """Ids of the members of every room of the applications that have sessions, or are in the directory, by application
    and room. Empty while rooms are not served (R1)."""
    found: dict[tuple[str, str], set[str]] = {}
    applications = {one.app for one in sessions} | {one.key for one in await engine.directory.applications()}
    try:
        for app in sorted(applications):
            async for room in paging.all_rooms(engine.rooms, RoomQuery(app=app, limit=PAGE)):
                query = RosterQuery(app=room.app, room=room.name, limit=PAGE)
                found[room.app, room.name] = {one.id async for one in paging.all_members(engine.rooms, query)}
    except RoomsUnavailableError:
        return {}
    return found


async def examine_engine(engine: Engine, *, grace: float, random_hex: Callable[[], str]) -> Examination:
    """An engine without a node: also of a cluster that is down. Nothing is known of sockets then."""
    beaten = await _visit(engine, random_hex)
    nodes = tuple(one for one in beaten.nodes if not one.node.startswith(DOCTOR))
    findings = [one for one in about_nodes(nodes, {}) if one.code != "node_silent"]
    sessions: tuple[SessionRecord, ...] = ()
    if beaten.recovering:
        findings.append(recovering())
    else:
        sessions = await all_sessions(engine)
        assert beaten.now is not None, "an engine's first beat says it, or fails"
        findings += about_sessions(sessions, nodes, {}, now=beaten.now, grace=grace)
        findings += about_rooms(sessions, await all_rosters(engine, sessions))
    durability = await engine.durability()
    return Examination(
        nodes=nodes, sessions=len(sessions), sockets=None, silent=(), durability=durability,
        findings=(*findings, *about_durability(durability)),
    )  # fmt: skip


async def _visit(engine: Engine, random_hex: Callable[[], str]) -> BeatResult:
    """A node that comes and leaves in one beat: the contract's way to learn which others are there."""
    name = f"{DOCTOR}-{random_hex()[:8]}"
    return await engine.registry.beat(
        NodeBeat(node=name, boot=random_hex(), lease=random_hex(), ready=False, leaving=True)
    )


async def repair(engine: Engine, findings: Sequence[Finding], *, grace: float) -> list[str]:
    """Does what the findings name. A line for each, of what was done or why it was not."""
    done: list[str] = []
    if any(one.repair is Repair.REAP for one in findings):
        reaped = await engine.registry.reap()
        done.append(f"The reaper ended {len(reaped.ended)} and detached {reaped.detached} sessions.")
    if any(one.repair is Repair.SETTLE for one in findings):
        done.append(await _settle(engine))
    for one in findings:
        if one.repair is Repair.DETACH:
            done.append(f"{one.subject}: {await _detach(engine, one, grace)}")
    for node in sorted({one.node for one in findings if one.repair is Repair.COMPARE}):
        await engine.bus.send(node, CompareCommand())
        done.append(f"{node} was asked to compare the sessions it holds with those the engine lists.")
    return done


async def _settle(engine: Engine) -> str:
    settled = await engine.rooms.settle(compare=True)
    repaired = settled.repaired
    for _ in range(MAX_PASSES):
        if not settled.more:
            break
        settled = await engine.rooms.settle()
        repaired += settled.repaired
    return f"Sessions and rosters were compared: {repaired} members were corrected."


async def _detach(engine: Engine, finding: Finding, grace: float) -> str:
    owner = Owner(finding.subject, finding.generation, finding.lease)
    try:
        was = await engine.registry.detach(owner, grace)
    except GreenroomError as error:
        return f"not repaired: {error.message}"
    return "detached." if was else "nothing to do: its state has changed since."
