"""The inside of ``greenroom open``: a session held open on a terminal."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from greenroom.cli.output import print_json
from greenroom.sdk.client import Greenroom
from greenroom.sdk.delegate import SessionDelegate

if TYPE_CHECKING:
    from greenroom.core.states import SessionState
    from greenroom.errors import GreenroomError
    from greenroom.messages import Device
    from greenroom.model import Participant


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to open a session with. token, or key and secret."""

    url: str
    token: str | None
    key: str | None
    secret: str | None
    external_id: str | None
    name: str | None
    avatar_url: str | None


class Ticker(SessionDelegate):
    """Prints what happens; `over` is set when the session has ended for good."""

    def __init__(self, *, as_json: bool) -> None:
        self.over = asyncio.Event()
        self.ended: str | None = None
        self._as_json = as_json

    def report(self, event: str, text: str, **more: Any) -> None:
        """One line: JSON with `event` and the rest, or the time and the text."""
        if self._as_json:
            print_json({"event": event, **more})
            return
        from rich.console import Console
        from rich.text import Text

        console = Console(soft_wrap=True, highlight=False)
        console.print(Text.assemble((f"{datetime.now():%H:%M:%S}  ", "dim"), (f"{event:<12}", "bold cyan"), text))

    def session_updated(self, state: SessionState) -> None:
        self.report("state", state.value, state=state.value)

    def session_ended(self, reason: str, message: str, by: Device | None) -> None:
        self.ended = reason
        self.report("ended", message or reason, reason=reason, message=message, byDevice=by.name if by else None)
        self.over.set()

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self.report("reopened", f"a new session: {reason}", reason=reason, participant=as_dict(participant))

    def token_refresh_failed(self, error: GreenroomError, is_expired: bool) -> None:
        self.report("token", str(error), message=str(error), isExpired=is_expired)

    def participant_updated(self, participant: Participant) -> None:
        self.report("participant", described(participant), participant=as_dict(participant))


async def hold_open(wanted: Wanted, *, as_json: bool) -> str | None:
    """Opens, prints what happens, and closes at SIGINT or SIGTERM. Why the session ended, None where it was closed
    from here. Raises GreenroomError where it cannot be opened."""
    ticker = Ticker(as_json=as_json)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Greenroom(wanted.url) as sdk:
        _initialize(sdk, wanted)
        sdk.session.delegate = ticker
        opening = asyncio.ensure_future(_open(sdk, wanted))
        if not await _first(opening, stopped):
            opening.cancel()
            return None
        participant = opening.result()
        ticker.report("open", described(participant), participant=as_dict(participant), scopes=list(sdk.session.scopes))
        await _first(asyncio.ensure_future(ticker.over.wait()), stopped)
        if not ticker.over.is_set():
            await sdk.session.close()
            ticker.report("closed", "the session is closed")
    return ticker.ended


async def _open(sdk: Greenroom, wanted: Wanted) -> Participant:
    from greenroom.model import ParticipantInfo

    info = ParticipantInfo(wanted.name, wanted.avatar_url, wanted.external_id)
    return await sdk.session.open(None if info == ParticipantInfo() else info)


async def _first(work: asyncio.Future[Any], stopped: asyncio.Event) -> bool:
    """Waits for the one or the other; whether the work is done."""
    stop = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
    if not work.done():
        work.cancel()
        return False
    return True


def _initialize(sdk: Greenroom, wanted: Wanted) -> None:
    if wanted.token is not None:
        sdk.initialize_token(wanted.token)
    else:
        sdk.initialize(wanted.key or "", wanted.secret or "")


def as_dict(participant: Participant) -> dict[str, Any]:
    """A participant as on the wire."""
    info = participant.info
    return {
        "id": participant.id,
        "externalId": info.external_id,
        "name": info.name,
        "avatarUrl": info.avatar_url,
        "revision": participant.revision,
        "version": participant.version,
        "presence": participant.presence.value,
        "sessions": participant.sessions,
    }


def described(participant: Participant) -> str:
    """A participant on one line."""
    info = participant.info
    who = info.name or info.external_id or "an anonymous participant"
    devices = f"{participant.sessions} session{'' if participant.sessions == 1 else 's'}"
    return f"{who}, id {participant.id}, revision {participant.revision}, {participant.presence.value}, {devices}"
