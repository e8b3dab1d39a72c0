"""Asks every node, over the bus, for its status and the sessions that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from greenroom.core.commands import Command, SurveyAnswerCommand, SurveyCommand
from greenroom.server.cluster.status import NodeStatus

PATIENCE = 3.0
"""Seconds for all answers. A node that has not answered by then is named as silent."""
PIECE = 2_000
"""Sessions in one message."""


class NodeAnswer(msgspec.Struct, frozen=True):
    """A node's status, and what it holds: generation by session id; None where that was not asked."""

    status: NodeStatus
    held: Mapping[str, int] | None


class _Piece(msgspec.Struct, frozen=True):
    """What travels, part by part: the names of the members are on the wire."""

    report: NodeStatus
    held: tuple[tuple[str, int], ...]
    pieces: int
    """How many make up the answer."""


class _Gathering:
    def __init__(self, expected: set[str]) -> None:
        self.expected = expected
        self.pieces: dict[str, list[_Piece]] = {}
        self.complete = asyncio.Event()

    def add(self, piece: _Piece) -> None:
        pieces = self.pieces.setdefault(piece.report.node, [])
        pieces.append(piece)
        if len(pieces) >= piece.pieces:
            self.expected.discard(piece.report.node)
        if not self.expected:
            self.complete.set()


class Survey:
    """One for each node. send: sends a command to a node. status, held: of this node."""

    def __init__(
        self,
        node: str,
        *,
        send: Callable[[str, Command], Awaitable[None]],
        status: Callable[[], NodeStatus],
        held: Callable[[], Sequence[tuple[str, int]]],
        random_hex: Callable[[], str],
    ) -> None:
        self._node = node
        self._send = send
        self._status = status
        self._held = held
        self._random_hex = random_hex
        self._open: dict[str, _Gathering] = {}

    async def ask(self, nodes: Sequence[str], *, sockets: bool, patience: float = PATIENCE) -> dict[str, NodeAnswer]:
        """The answers of these nodes, as far as they came. Raises ServiceUnavailableError where the bus is away."""
        number = self._random_hex()
        answers = self._open[number] = _Gathering(set(nodes))
        try:
            command = SurveyCommand(number=number, asker=self._node, held="sockets" if sockets else "")
            await self._send("*", command)
            async with asyncio.timeout(patience):
                await answers.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._open[number]
        return {
            name: NodeAnswer(pieces[0].report, dict(pair for one in pieces for pair in one.held) if sockets else None)
            for name, pieces in answers.pieces.items()
            if len(pieces) >= pieces[0].pieces
        }

    async def answer(self, command: SurveyCommand) -> None:
        """Another node asks, or this one."""
        held = tuple(self._held()) if command.held else ()
        chunks = [held[at : at + PIECE] for at in range(0, len(held), PIECE)] or [()]
        status = self._status()
        for chunk in chunks:
            piece = msgspec.json.encode(_Piece(status, chunk, len(chunks))).decode()
            await self._send(command.asker, SurveyAnswerCommand(number=command.number, piece=piece))

    def answered(self, command: SurveyAnswerCommand) -> None:
        """An answer. One that is late, or cannot be read, is dropped."""
        answers = self._open.get(command.number)
        if answers is None:
            return
        try:
            answers.add(msgspec.json.decode(command.piece, type=_Piece))
        except msgspec.MsgspecError:
            return
