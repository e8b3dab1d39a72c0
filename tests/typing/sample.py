"""What users write: checked by mypy --strict in tests/typing/test_sample.py, never run."""

from __future__ import annotations

import asyncio

from greenroom import (
    Device,
    Greenroom,
    Participant,
    ParticipantInfo,
    RevisionConflictError,
    SessionDelegate,
    SessionState,
    Watch,
    blocking,
)


class Delegate(SessionDelegate):
    def session_updated(self, state: SessionState) -> None:
        print(state.value)

    async def session_ended(self, reason: str, message: str, by: Device | None) -> None:
        await asyncio.sleep(0)
        print(reason, message, None if by is None else by.name)


async def refresh(is_expired: bool) -> str:
    return "token"


def refresh_now(is_expired: bool) -> str:
    return "token"


async def main() -> None:
    sdk = Greenroom("https://sessions.example.com")
    sdk.initialize_token("token", refresh)
    sdk.initialize_token("token", refresh_now)
    sdk.session.delegate = Delegate()
    async with sdk.session.opened(ParticipantInfo(name="Ada"), device=Device(id="d")) as participant:
        name: str | None = participant.info.name
        print(name)
        try:
            changed: Participant = await sdk.session.update_participant_info(name="", if_revision=participant.revision)
        except RevisionConflictError as error:
            print(error.participant)
        else:
            print(changed.status)
        watch: Watch = await sdk.participants.watch(external_ids=["bob"], on_change=lambda one: print(one.id))
        async with watch:
            async for one in watch:
                print(one.presence.value)


def completed(error: BaseException | None) -> None:
    print(error)


def program() -> None:
    with blocking.Greenroom("https://sessions.example.com") as sdk:
        sdk.initialize("key", "secret")
        participant: Participant = sdk.session.open()
        print(participant.id)
        sdk.session.update_participant_info(name="x", completion=completed)
        sdk.session.close(completion=completed)
