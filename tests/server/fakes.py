"""A link without a socket and an engine without a store, for tests of the shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from greenroom.model import ParticipantRecord
from greenroom.server.wire.interface import Handler


class FakeLink:
    """Implements `WebSocketConnection`; keeps what was sent."""

    def __init__(self) -> None:
        self.address = "192.0.2.1"
        self.headers: Mapping[str, str] = {}
        self.path = "/v1/session"
        self.closed = False
        self.paused = False
        self.frames: list[bytes] = []
        self.pings = 0
        self.end: tuple[int, str] | None = None
        self.handler: Handler | None = None

    def send(self, message: bytes) -> None:
        self.frames.append(message)

    def ping(self) -> None:
        self.pings += 1

    def close(self, code: int, reason: str) -> None:
        self.closed = True
        self.end = (code, reason)

    def abort(self) -> None:
        self.closed = True
        self.end = (1006, "")

    def buffered(self) -> int:
        return 0

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was sent, decoded."""
        return [msgspec.json.decode(frame) for frame in self.frames]

    def notifications(self, method: str) -> list[dict[str, Any]]:
        """Params of all notifications of this kind."""
        return [message["params"] for message in self.messages if message.get("method") == method]


class FakeMetrics:
    """Implements `SessionMetrics`; keeps what was reported."""

    def __init__(self) -> None:
        self.joins: list[tuple[float, bool]] = []
        self.refusals: list[tuple[str, bool]] = []
        self.lost: list[int] = []
        self.silences: list[float] = []
        self.updates: list[tuple[str, str, int | None]] = []
        self.sent = 0

    def joined(self, seconds: float, *, resuming: bool) -> None:
        self.joins.append((seconds, resuming))

    def replaced(self, count: int) -> None:
        pass

    def refused(self, reason: str, *, resuming: bool) -> None:
        self.refusals.append((reason, resuming))

    def connection_lost(self, code: int) -> None:
        self.lost.append(code)

    def silent(self, seconds: float) -> None:
        self.silences.append(seconds)

    def update_begins(self, app: str, participant_id: str) -> None:
        pass

    def update_ends(self, app: str, participant_id: str, *, before: int, version: int | None) -> None:
        self.updates.append((app, participant_id, version))

    def updates_sent(self, records: Sequence[ParticipantRecord]) -> None:
        self.sent += len(records)
