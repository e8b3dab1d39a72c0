"""Results to come, without a task for each: what an engine may return instead of a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Completion(Generic[T]):
    """The result of a call that is under way: await it, or give it a callback.

    Everything happens in the event loop's thread. A callback gets the result, or the exception that the call failed
    with; it is quick and does not raise. Nobody has to wait: what the call does is done all the same.
    """

    # Defaults instead of an __init__: two are made for each open and close.
    done: bool = False
    """Whether the result is there."""
    _result: Any = None
    _then: Callable[[Any], None] | None = None
    _afterwards: Callable[[Any], None] | None = None

    def then(self, callback: Callable[[Any], None]) -> None:
        """Call it when the result is there, never before this method has returned. One waits for it, this way or by
        awaiting it."""
        if self.done:
            asyncio.get_running_loop().call_soon(callback, self._result)
        else:
            self._then = callback

    def afterwards(self, callback: Callable[[Any], None]) -> None:
        """Call it once whoever waits has been answered: for those who measure. At once where the result is there."""
        if self.done:
            callback(self._result)
        else:
            self._afterwards = callback

    def complete(self, result: T | Exception) -> None:
        """The engine's: here is the result, or the exception. Once."""
        self._result, self.done = result, True
        if self._then is not None:
            self._then(result)
        if self._afterwards is not None:
            self._afterwards(result)

    def __await__(self) -> Generator[Any, None, T]:
        if not self.done:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._then = lambda _result: None if future.done() else future.set_result(None)
            yield from future
        if isinstance(self._result, Exception):
            raise self._result
        result: T = self._result
        return result


def completed(result: T | Exception) -> Completion[T]:
    """One that is complete."""
    found: Completion[T] = Completion()
    found.complete(result)
    return found


class Ready:
    """An awaitable of nothing that has to be waited for."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


READY = Ready()
