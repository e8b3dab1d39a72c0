"""Asks every node how it is and which sessions it holds. Over the bus: nodes need not reach each other otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from greenroom.engines.base import Command

PATIENCE = 3.0
"""Seconds for all answers. A node that has not answered by then is named as silent."""
PIECE = 2_000
"""Sessions in one message."""

REPORT, HELD, COMPARE = "report", "held", "compare"
"""Kinds of commands. A node of a version that does not know them leaves them alone, and counts as silent."""


class NodeReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a node is, by its own account. Seconds where it is time."""

    node: str
    boot: str
    version: str
    state: str
    not_ready: str | None
    sessions: int
    connections: int
    kept_writes: int
    clock_difference: float
    """By which its wall clock is ahead of the engine's."""
    reaper_lag: float
    reaper_failing: str
    uptime: float
    settings: dict[str, str] = {}
    """Those that have to be the same everywhere; of secrets a fingerprint."""


class Answer(msgspec.Struct, frozen=True):
    """A report, and what the node holds: generation by session id; None where that was not asked."""

    report: NodeReport
    held: Mapping[str, int] | None


class _Piece(msgspec.Struct, frozen=True):
    report: NodeReport
    held: tuple[tuple[str, int], ...]
    pieces: int
    """How many make up the answer."""


class _Gathering:
    def __init__(self, expected: set[str]) -> None:
        self.expected = expected
        self.pieces: dict[str, list[_Piece]] = {}
        self.complete = asyncio.Event()

    def take(self, piece: _Piece) -> None:
        pieces = self.pieces.setdefault(piece.report.node, [])
        pieces.append(piece)
        if len(pieces) >= piece.pieces:
            self.expected.discard(piece.report.node)
        if not self.expected:
            self.complete.set()


class RollCall:
    """One for each node. tell: sends a command to a node. report, held: of this node."""

    def __init__(
        self,
        node: str,
        *,
        tell: Callable[[str, Command], Awaitable[None]],
        report: Callable[[], NodeReport],
        held: Callable[[], Sequence[tuple[str, int]]],
        random_hex: Callable[[], str],
    ) -> None:
        self._node = node
        self._tell = tell
        self._report = report
        self._held = held
        self._random_hex = random_hex
        self._open: dict[str, _Gathering] = {}

    async def ask(self, nodes: Sequence[str], *, sockets: bool, patience: float = PATIENCE) -> dict[str, Answer]:
        """The answers of these nodes, as far as they came. Raises ServiceUnavailableError where the bus is away."""
        number = self._random_hex()
        gathering = self._open[number] = _Gathering(set(nodes))
        try:
            command = Command(kind=REPORT, session_id=number, text=self._node, reason="sockets" if sockets else "")
            await self._tell("*", command)
            async with asyncio.timeout(patience):
                await gathering.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._open[number]
        return {
            name: Answer(pieces[0].report, dict(pair for one in pieces for pair in one.held) if sockets else None)
            for name, pieces in gathering.pieces.items()
            if len(pieces) >= pieces[0].pieces
        }

    async def answer(self, command: Command) -> None:
        """Another node asks, or this one."""
        held = tuple(self._held()) if command.reason else ()
        chunks = [held[at : at + PIECE] for at in range(0, len(held), PIECE)] or [()]
        report = self._report()
        for chunk in chunks:
            text = msgspec.json.encode(_Piece(report, chunk, len(chunks))).decode()
            await self._tell(command.text, Command(kind=HELD, session_id=command.session_id, text=text))

    def heard(self, command: Command) -> None:
        """An answer. One that is late, or cannot be read, is dropped."""
        gathering = self._open.get(command.session_id)
        if gathering is None:
            return
        try:
            gathering.take(msgspec.json.decode(command.text, type=_Piece))
        except msgspec.MsgspecError:
            return


__all__ = ["COMPARE", "HELD", "PATIENCE", "REPORT", "Answer", "NodeReport", "RollCall"]
