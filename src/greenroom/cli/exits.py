"""What the exit codes mean."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.errors import GreenroomError


class Exit(IntEnum):
    """Exit codes of every verb."""

    DONE = 0
    FAILED = 1
    """The service refused, or something on this machine failed."""
    USAGE = 2
    """Wrong options or settings."""
    UNREACHABLE = 3
    """No service answers at the URL."""
    CREDENTIALS = 4
    """Admin token, app key and secret, or token were refused."""
    NOT_FOUND = 5
    CONFLICT = 6
    TRY_LATER = 7
    """The service is not ready, or there were too many attempts."""
    BUG = 70
    INTERRUPTED = 130


class CliError(Exception):
    """One line for people, and how the process ends."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(" ".join(text.split()))
        self.exit = code


_BY_STATUS = {
    400: Exit.USAGE,
    401: Exit.CREDENTIALS,
    403: Exit.CREDENTIALS,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    429: Exit.TRY_LATER,
    503: Exit.TRY_LATER,
    504: Exit.UNREACHABLE,
}


def exit_of_status(status: int) -> Exit:
    """The exit code for a refusal over HTTP."""
    return _BY_STATUS.get(status, Exit.FAILED)


def exit_of(error: GreenroomError) -> Exit:
    """The exit code for an error of the tree."""
    return exit_of_status(error.http_status)
