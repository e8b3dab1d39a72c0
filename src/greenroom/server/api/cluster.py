"""The operators' API about the whole cluster: nodes, draining, doctor."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from greenroom.codes import ErrorCode
from greenroom.engines.base import NodeRecord, SessionQuery
from greenroom.errors import NotFoundError
from greenroom.server.cluster.doctor import Examination, Finding, examine, repair
from greenroom.server.cluster.doctor.history import SessionHistory, history_of
from greenroom.server.cluster.doctor.survey import NodeAnswer
from greenroom.server.cluster.status import NodeStatus
from greenroom.server.http.routes import Call, Nothing, admin

NODES_PATIENCE = 1.5
"""Seconds for the survey of `GET /admin/v1/nodes`: people wait for it."""


class NodeView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A node as the cluster sees it, and by its own account (null where it did not answer).

    lease_left: seconds, negative where it is over. started_at, seen_at: Unix milliseconds.
    """

    node: str
    boot: str
    lease: str
    lease_left: float
    url: str
    version: str
    ready: bool
    draining: bool
    sessions: int
    started_at: int
    seen_at: int
    report: NodeStatus | None


class NodeList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All nodes with a record, by name. asked: the node that answered."""

    items: tuple[NodeView, ...]
    asked: str


class DrainOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which node is to stop, and how fast its clients are moved."""

    node: Annotated[str, Meta(max_length=200, description="The node's name; null: the node that answers.")] | None = (
        None
    )
    rate: Annotated[float, Meta(gt=0, le=100_000, description="Sessions a second; null: the default.")] | None = None


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """A drain was ordered. sessions: what there is to move, as last reported."""

    node: str
    sessions: int


class FindingView(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. severity: problem or warning. repair: what `repair` would do, or null."""

    code: str
    severity: str
    subject: str
    text: str
    hint: str
    repair: str | None


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at and found. sockets: null where no node was asked. repaired: what was done, if asked for."""

    nodes: int
    sessions: int
    sockets: int | None
    silent: tuple[str, ...]
    durability: tuple[str, ...]
    findings: tuple[FindingView, ...]
    repaired: tuple[str, ...] = ()


class HistoryPath(msgspec.Struct, frozen=True):
    """Names one session."""

    session_id: str


async def list_nodes(call: Call[Nothing, Nothing, Nothing]) -> NodeList:
    """Nodes, boots, leases, sessions, lag."""
    cluster = call.context.cluster
    nodes = cluster.known_nodes()
    alive = [one.node for one in nodes if one.lease_left > 0]
    answers = await cluster.survey.ask(alive, sockets=False, patience=NODES_PATIENCE)
    views = tuple(_view(one, answers.get(one.node)) for one in sorted(nodes, key=lambda one: one.node))
    return NodeList(items=views, asked=cluster.status().node)


def _view(one: NodeRecord, answer: NodeAnswer | None) -> NodeView:
    return NodeView(
        node=one.node,
        boot=one.boot,
        lease=one.lease,
        lease_left=round(one.lease_left, 1),
        url=one.url,
        version=one.version,
        ready=one.ready,
        draining=one.draining,
        sessions=one.sessions if answer is None else answer.status.sessions,
        started_at=one.started_at,
        seen_at=one.seen_at,
        report=None if answer is None else answer.status,
    )


async def drain(call: Call[Nothing, Nothing, DrainOrder]) -> Draining:
    """Moves the clients of a node to others and stops it, as SIGTERM does."""
    record = await call.context.cluster.drain(call.body.node, call.body.rate)
    return Draining(node=record.node, sessions=record.sessions)


async def look(call: Call[Nothing, Nothing, Nothing]) -> DoctorReport:
    """Compares registry, leases and live sockets over the cluster. Changes nothing."""
    return report_of(await examine(call.context.cluster))


async def look_and_repair(call: Call[Nothing, Nothing, Nothing]) -> DoctorReport:
    """The same, and repairs what it can."""
    examined = await examine(call.context.cluster)
    done = await repair(call.context.engine, examined.findings, grace=call.context.config.grace)
    return report_of(examined, done)


async def history(call: Call[HistoryPath, Nothing, Nothing]) -> SessionHistory:
    """A session's life, with reasons. Ended ones for a day."""
    query = SessionQuery(session_id=call.path.session_id, with_timeline=True)
    page = await call.context.engine.registry.sessions(query)
    if not page.items:
        raise NotFoundError("There is no such session, or it ended more than a day ago.")
    return history_of(page.items[0])


def report_of(examined: Examination, repaired: list[str] | None = None) -> DoctorReport:
    """As operators see it."""
    return DoctorReport(
        nodes=len(examined.nodes),
        sessions=examined.sessions,
        sockets=examined.sockets,
        silent=examined.silent,
        durability=examined.durability,
        findings=tuple(_finding(one) for one in examined.findings),
        repaired=tuple(repaired or ()),
    )


def _finding(one: Finding) -> FindingView:
    return FindingView(
        code=one.code,
        severity=one.severity.value,
        subject=one.subject,
        text=one.text,
        hint=one.hint,
        repair=None if one.repair is None else one.repair.value,
    )


_NOT_FOUND = (ErrorCode.NOT_FOUND,)

ROUTES = (
    admin("GET /nodes", list_nodes, "List the nodes"),
    admin("POST /drain", drain, "Drain a node", status=202, errors=_NOT_FOUND),
    admin("GET /doctor", look, "Compare registry, leases and sockets"),
    admin("POST /doctor/repair", look_and_repair, "Repair differences"),
    admin("GET /doctor/sessions/{session_id}", history, "Explain a session's timeline", errors=_NOT_FOUND),
)
