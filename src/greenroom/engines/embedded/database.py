"""How the five contracts reach the file: operations through the writer, queries on a connection of their own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import apsw

from greenroom.engines.embedded.writer import Writer

T = TypeVar("T")


class Database(Protocol):
    """Both ways in."""

    @property
    def writer(self) -> Writer:
        """What carries operations out; another one once the engine has started, or was stopped."""

    def read(self, query: Callable[[apsw.Connection], T], *, quick: bool = False) -> Awaitable[T]:
        """Carried out beside the writer; sees everything that was committed before.

        quick: a few rows by their keys, which take less time than handing them to a thread would.
        """
