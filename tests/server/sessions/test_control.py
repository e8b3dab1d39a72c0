"""What a backend or an operator does to sessions: the nodes that hold them are notified, and the directory is read."""

from __future__ import annotations

from greenroom.core.commands import DirectoryCommand
from greenroom.core.requests import EndRequest
from greenroom.engines.base import RestrictRequest
from greenroom.model import EndReason
from greenroom.server.sessions.control import SessionControl
from tests.core.server.rig import ANNA, APP
from tests.server.shell import Shell, running_shell


class Reads:
    """How often the directory was read again."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


def _control(shell: Shell) -> tuple[SessionControl, Reads]:
    reads = Reads()
    return SessionControl(shell.engine.registry, shell.calls, reads), reads


async def test_a_kick_ends_the_sessions_and_says_why_before_it_is_answered() -> None:
    async with running_shell() as shell:
        control, reads = _control(shell)
        _, link = await shell.open()
        restricted = await control.restrict(
            RestrictRequest(app=APP, kind="kick", participant_id=ANNA, reason="misbehaved")
        )
        assert len(restricted.ended) == 1
        (told,) = link.notifications("session.ended")
        assert (told["reason"], told["message"]) == ("kicked", "misbehaved")
        assert reads.count == 1
        assert DirectoryCommand() in shell.commands


async def test_an_operator_ends_one_session() -> None:
    async with running_shell() as shell:
        control, _ = _control(shell)
        anna, link = await shell.open()
        owner = anna.machine.owner
        assert owner is not None
        request = EndRequest(session_id=owner.session_id, reason=EndReason.KICKED, text="enough", app=APP)
        assert await control.end_session(request) is not None
        assert link.notifications("session.ended")[0]["message"] == "enough"
        assert await control.end_session(request) is None
