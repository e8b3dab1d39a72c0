"""A program of an app, as it was written for any version: prints a line of JSON for each step, and waits for a line.

usage: session_life.py URL TOKEN-OF-ANNA TOKEN-OF-BEN
"""

import asyncio
import json
import sys

from greenroom import Greenroom, ParticipantInfo, RevisionConflictError, SessionDelegate, SessionState


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def line() -> str:
    return str(await asyncio.to_thread(sys.stdin.readline)).strip()


class Delegate(SessionDelegate):
    def __init__(self) -> None:
        self.states: list[str] = []
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()

    def session_updated(self, state: SessionState) -> None:
        self.states.append(state.value)
        self.changed.set()

    def session_ended(self, reason: str, message: str, by: object) -> None:
        say(step="ended", reason=reason)
        self.ended.set()


async def main() -> None:
    url, anna_token, ben_token = sys.argv[1:]
    async with Greenroom(url) as anna, Greenroom(url) as ben:
        await use(anna, ben, anna_token, ben_token)


async def use(anna: Greenroom, ben: Greenroom, anna_token: str, ben_token: str) -> None:
    delegate = Delegate()
    anna.session.delegate = delegate
    anna.initialize_token(anna_token)
    ben.initialize_token(ben_token)
    me = await anna.session.open(ParticipantInfo(name="Anna"))
    say(step="open", name=me.info.name, external_id=me.info.external_id)
    await ben.session.open(ParticipantInfo(name="Ben"))
    watch = await anna.participants.watch(external_ids=["ben"])
    changed = await ben.session.update_participant_info(name="Benjamin")
    try:
        await ben.session.update_participant_info(name="x", if_revision=0)
    except RevisionConflictError:
        say(step="conflict")
    async for participant in watch:
        say(step="watched", name=participant.info.name, same=participant.revision == changed.revision)
        break
    found = await anna.participants.get(external_ids=["ben", "nobody"])
    say(step="get", names=[one.info.name for one in found])
    assert await line() == "restarted"
    # The service was killed and started again meanwhile: the same session continues.
    async with asyncio.timeout(60):
        while not ("reconnecting" in delegate.states and delegate.states[-1] == "connected"):
            delegate.changed.clear()
            await delegate.changed.wait()
    me = await anna.session.update_participant_info(name="Anna B.")
    say(step="resumed", name=me.info.name, states=delegate.states)
    assert await line() == "kicked"
    async with asyncio.timeout(60):
        await delegate.ended.wait()
    await ben.session.close()
    say(step="closed", open=ben.session.is_open())


asyncio.run(main())
