"""One SDK in a process of its own: opens a session, prints a line of JSON for each thing it is notified of, closes at
the end of standard input. ``python client_process.py URL KEY SECRET EXTERNAL_ID [WATCHED]``"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from greenroom import Greenroom, Participant, ParticipantInfo, SessionDelegate, SessionState
from greenroom.core.client.effects import ClientSettings

SETTINGS = ClientSettings(ping_interval=1.0, pong_timeout=1.0)


def say(**what: Any) -> None:
    print(json.dumps({"at": time.monotonic(), **what}), flush=True)


class Delegate(SessionDelegate):
    def session_updated(self, state: SessionState) -> None:
        say(state=state.value)

    def session_ended(self, reason: str, message: str, by: object) -> None:
        say(ended=reason)

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        say(reopened=reason)

    def participants_changed(self, participants: list[Participant]) -> None:
        for participant in participants:
            say(saw=participant.info.external_id, presence=participant.presence.value)


async def main(url: str, key: str, secret: str, external_id: str, watched: str = "") -> None:
    sdk = Greenroom(url, settings=SETTINGS)
    sdk.initialize(key, secret)
    sdk.session.delegate = Delegate()
    await sdk.session.open(ParticipantInfo(name=external_id, external_id=external_id), timeout=60.0)
    if watched:
        await sdk.participants.watch(external_ids=[watched])
    say(ready=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await sdk.session.close()
    say(closed=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
