"""What the cases share."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from greenroom.codes import ErrorCode
from greenroom.errors import GreenroomError
from greenroom.testing.engine_world import World


class ContractBase:
    """A group of cases over one kind of world."""

    def make_world(self) -> World:
        """A world that has not started; a new one for each case."""
        raise NotImplementedError("write make_world: it gives the world to judge")


class CaughtError:
    """The error a block was refused with."""

    def __init__(self) -> None:
        self.error: GreenroomError | None = None

    @property
    def end_reason(self) -> str | None:
        """How the session ended, where the error says it."""
        return getattr(self.error, "end_reason", None)


@contextmanager
def refused(code: ErrorCode) -> Generator[CaughtError, None, None]:
    """The block must be refused with this code."""
    refusal = CaughtError()
    try:
        yield refusal
    except GreenroomError as error:
        if error.code is not code:
            raise AssertionError(f"refused with {error.code.name} ({error}), expected {code.name}") from error
        refusal.error = error
        return
    raise AssertionError(f"not refused; expected {code.name}")
