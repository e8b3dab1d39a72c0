"""How a node is, by its own account: the one shape of it for both APIs, the survey and the doctor."""

from __future__ import annotations

import msgspec


class NodeHealth(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The part of it that an app's backend may see. Seconds where it is time."""

    version: str
    state: str
    not_ready: str | None
    """Why the node should get no traffic; null where it should."""
    uptime: float
    engine: str = ""
    """Its kind."""
    kept_writes: int
    """Ends and detaches that wait for the engine."""
    clock_difference: float
    """By which the node's wall clock is ahead of the engine's."""
    reaper_lag: float
    reaper_failing: str
    """What the reaper's last pass failed with; "" where it did not."""


class KeySetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A key set that the node could not fetch at the last attempt. app, issuer: key and id. age: seconds since one was
    fetched; null: never. failures: attempts in a row."""

    app: str
    issuer: str
    age: float | None
    failures: int
    why: str


class NodeStatus(NodeHealth, frozen=True, kw_only=True, rename="camel"):
    """All of it. Members with a default are missing in what nodes of the version before send."""

    node: str
    boot: str
    sessions: int
    connections: int
    url: str = ""
    durability: tuple[str, ...] = ()
    """What the engine promises, a line each."""
    other_nodes: tuple[str, ...] = ()
    rooms_lag: float = 0.0
    """Seconds since the oldest mark of a room was made that waited at the last pass over rooms (R2)."""
    rooms_failing: str = ""
    """What the last pass over rooms failed with; "" where it did not."""
    key_sets_failing: tuple[KeySetStatus, ...] = ()
    """Of issuers; at most 50."""
    settings: dict[str, str] = {}
    """Those that have to be the same on every node; of secrets a fingerprint."""
