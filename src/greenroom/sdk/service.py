"""Base of the services that need an open session."""

from __future__ import annotations

from greenroom.sdk.runner import Runner


class SessionBoundService:
    """Base class of `ParticipantsService`, and for your own services.

    A method calls `_open_session` first: without a session that raises `SessionNotOpenError`, before any network.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def _open_session(self) -> Runner:
        machine = self._runner.machine
        if not machine.is_open():
            raise machine.not_open_error()
        return self._runner
