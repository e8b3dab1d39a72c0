"""What tests of the SDK share: a delegate that takes notes, and waiting for something to come true."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from greenroom import (
    Device,
    Greenroom,
    GreenroomError,
    Invitation,
    InvitationAnswer,
    Participant,
    SessionDelegate,
    SessionState,
)
from greenroom.testing.fake_service import FakeService, make_token, participant_id
from tests.support.patience import PATIENCE

ADA, BOB, EVE = (participant_id(name) for name in ("ada", "bob", "eve"))


def a_participant_id(name: str) -> str:
    """Any participant's id; the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


class Notes(SessionDelegate):
    """Keeps the calls of its methods: (method, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._news = asyncio.Event()

    def _note(self, *what: Any) -> None:
        self.calls.append(what)
        self._news.set()

    def session_updated(self, state: SessionState) -> None:
        self._note("updated", state.value)

    def session_ended(self, reason: str, message: str, by: Device | None) -> None:
        self._note("ended", reason, by)

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self._note("reopened", reason, previous_id)

    def token_refresh_failed(self, error: GreenroomError, is_expired: bool) -> None:
        self._note("refresh failed", error, is_expired)

    def participant_updated(self, participant: Participant) -> None:
        self._note("own", participant)

    def participants_changed(self, participants: list[Participant]) -> None:
        self._note("changed", participants)

    def room_invited(self, invitation: Invitation) -> None:
        self._note("invited", invitation)

    def room_invitation_answered(self, answer: InvitationAnswer) -> None:
        self._note("answered", answer)

    def names(self) -> list[str]:
        return [one[0] if one[0] != "updated" else one[1] for one in self.calls]

    async def until(self, condition: Callable[[], object], limit: float = PATIENCE) -> None:
        """Wait until the calls make the condition true."""
        async with asyncio.timeout(limit):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def comes(self, name: str, times: int) -> None:
        """Wait until there were so many calls of a name."""
        await self.until(lambda: self.names().count(name) >= times)

    async def first(self, name: str) -> tuple[Any, ...]:
        """Wait for the first call of a name (`names`)."""
        await self.until(lambda: name in self.names())
        return self.calls[self.names().index(name)]


def notes_of(sdk: Greenroom) -> Notes:
    """Of an SDK whose delegate takes them."""
    assert isinstance(sdk.session.delegate, Notes)
    return sdk.session.delegate


def state_of(sdk: Greenroom) -> SessionState:
    """The state, which type checkers take for constant when it is read twice."""
    return sdk.session.state


def new_sdk(service: FakeService, external_id: str | None = "ada", **more: Any) -> tuple[Greenroom, Notes]:
    """An SDK for the fake, with a token and a delegate."""
    sdk = Greenroom(service.url)
    sdk.initialize_token(make_token(external_id=external_id, **more))
    notes = Notes()
    sdk.session.delegate = notes
    return sdk, notes


@asynccontextmanager
async def people(service: FakeService, *names: str, **more: Any) -> AsyncIterator[list[Greenroom]]:
    """An SDK with an open session for each."""
    sdks = [new_sdk(service, external_id=name, **more)[0] for name in names]
    for sdk in sdks:
        await sdk.session.open()
    try:
        yield sdks
    finally:
        for sdk in sdks:
            await sdk.aclose()
