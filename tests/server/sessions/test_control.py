"""What a backend or an operator does to sessions: the nodes that hold them are notified, and the directory is read."""

from __future__ import annotations

from greenroom.core.commands import DirectoryCommand
from greenroom.core.requests import EndRequest
from greenroom.engines.base import EraseParticipant, KickParticipant
from greenroom.model import EndReason
from greenroom.server.sessions.control import SessionControl
from tests.core.server.rig import ANNA, APP
from tests.server.shell import Shell, running_shell


class Directory:
    """What was applied to the directory's copy, and how often it was read again."""

    def __init__(self) -> None:
        self.applied: list[DirectoryCommand] = []
        self.reads = 0

    def apply(self, change: DirectoryCommand) -> None:
        self.applied.append(change)

    async def read(self, version: int | None) -> None:
        self.reads += 1


def _control(shell: Shell) -> tuple[SessionControl, Directory]:
    directory = Directory()
    return SessionControl(shell.engine.registry, shell.node_commands, directory, shell.clocks.wall), directory


async def test_a_kick_ends_the_sessions_and_says_why_before_it_is_answered() -> None:
    async with running_shell() as shell:
        control, directory = _control(shell)
        _, link = await shell.open()
        restricted = await control.restrict(KickParticipant(app=APP, participant_id=ANNA, reason="misbehaved"))
        assert len(restricted.ended) == 1
        (received,) = link.notifications("session.ended")
        assert (received["reason"], received["message"]) == ("kicked", "misbehaved")
        # Applied here and sent to all others, who need not read anything.
        (change,) = directory.applied
        assert [(one.kind, one.subject) for one in change.restrictions] == [("cutoff", ANNA), ("jti", "jti-anna")]
        assert change.restrictions[0].before == restricted.cutoff
        assert (change.before, change.after) == restricted.versions
        assert change in shell.commands
        assert directory.reads == 0


async def test_an_erasure_is_read_again_by_every_node() -> None:
    async with running_shell() as shell:
        control, directory = _control(shell)
        await shell.open()
        await control.restrict(EraseParticipant(app=APP, participant_id=ANNA))
        assert (directory.applied, directory.reads) == ([], 1)
        assert any(isinstance(one, DirectoryCommand) and not one.restrictions for one in shell.commands)


async def test_an_operator_ends_one_session() -> None:
    async with running_shell() as shell:
        control, _ = _control(shell)
        anna, link = await shell.open()
        owner = anna.context.owner
        assert owner is not None
        request = EndRequest(session_id=owner.session_id, reason=EndReason.KICKED, text="enough", app=APP)
        assert await control.end_session(request) is not None
        assert link.notifications("session.ended")[0]["message"] == "enough"
        assert await control.end_session(request) is None
