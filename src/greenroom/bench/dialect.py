"""How a server is talked to: Greenroom's own protocol here; peers in `make bench` have theirs."""

from __future__ import annotations

import os
from enum import Enum
from typing import Protocol

from greenroom.messages import PATH, SUBPROTOCOL


class Said(Enum):
    """What a message of a server is."""

    WELCOME = "welcome"
    """Say hello now: only protocols that have one wait for it."""
    DONE = "done"
    """The answer to what was asked."""
    REFUSED = "refused"
    NOTICE = "notice"
    PING = "ping"
    """Is the client there? Of protocols that ask by a message rather than by a frame."""
    OTHER = "other"


class Dialect(Protocol):
    """One server's protocol."""

    path: str
    subprotocol: str | None
    waits: bool
    """Whether the client waits for a welcome before it says hello."""
    pong: bytes
    """What answers a `Said.PING`."""

    def hello(self, token: str, number: int) -> bytes:
        """The message that opens a session."""

    def echo(self) -> bytes:
        """The smallest request that is answered."""

    def watch(self, ids: list[str]) -> bytes:
        """Watch these external ids."""

    def rename(self, name: str) -> bytes:
        """Change the own name."""

    def join(self, room: str) -> bytes:
        """Join the room."""

    def leave(self, room: str) -> bytes:
        """Leave it."""

    def say(self, room: str, text: str) -> bytes:
        """A message to all in the room. text: of letters, digits and spaces."""

    def kind(self, message: bytes) -> Said:
        """What a message is."""


def secret() -> str:
    """A resume secret, 32 random bytes."""
    return os.urandom(32).hex()


class GreenroomDialect:
    """``greenroom.v1``."""

    path = PATH
    subprotocol: str | None = SUBPROTOCOL
    waits = False
    pong = b""

    def hello(self, token: str, number: int) -> bytes:
        return hello(token, secret())

    def echo(self) -> bytes:
        return b'{"jsonrpc":"2.0","id":2,"method":"ping","params":{}}'

    def watch(self, ids: list[str]) -> bytes:
        listed = ",".join(f'"{one}"' for one in ids)
        text = f'{{"jsonrpc":"2.0","id":3,"method":"participants.watch","params":{{"externalIds":[{listed}]}}}}'
        return text.encode()

    def rename(self, name: str) -> bytes:
        params = f'{{"updateId":"{os.urandom(16).hex()}","name":"{name}"}}'
        return f'{{"jsonrpc":"2.0","id":4,"method":"session.updateParticipantInfo","params":{params}}}'.encode()

    def join(self, room: str) -> bytes:
        return f'{{"jsonrpc":"2.0","id":5,"method":"rooms.join","params":{{"room":"{room}"}}}}'.encode()

    def leave(self, room: str) -> bytes:
        return f'{{"jsonrpc":"2.0","id":6,"method":"rooms.leave","params":{{"room":"{room}"}}}}'.encode()

    def say(self, room: str, text: str) -> bytes:
        params = f'{{"room":"{room}","messageId":"{os.urandom(16).hex()}","message":"{text}"}}'
        return f'{{"jsonrpc":"2.0","id":7,"method":"rooms.send","params":{params}}}'.encode()

    def kind(self, message: bytes) -> Said:
        if message.startswith(b'{"id":'):
            return Said.REFUSED if b'"error":{' in message[:40] else Said.DONE
        return Said.NOTICE if message.startswith(b'{"method":') else Said.OTHER


def hello(token: str, resume_secret: str) -> bytes:
    """``session.open``."""
    params = f'{{"token":"{token}","openId":"{os.urandom(16).hex()}","resumeSecret":"{resume_secret}"}}'
    return f'{{"jsonrpc":"2.0","id":1,"method":"session.open","params":{params}}}'.encode()


def resume(
    session_id: str, resume_secret: str, next_secret: str, attempt: int, watching: dict[str, int] | None = None
) -> bytes:
    """``session.resume``. watching: versions of the rosters that the client has, by room."""
    rooms = ",".join(f'["{room}",{version}]' for room, version in (watching or {}).items())
    params = (
        f'{{"sessionId":"{session_id}","resumeSecret":"{resume_secret}","nextSecret":"{next_secret}",'
        f'"attempt":{attempt},"watchingRooms":[{rooms}]}}'
    )
    return f'{{"jsonrpc":"2.0","id":1,"method":"session.resume","params":{params}}}'.encode()


def create_counted_room(room: str) -> bytes:
    """``rooms.create`` of a room of which watchers get the count."""
    params = f'{{"room":"{room}","detailed":false}}'
    return f'{{"jsonrpc":"2.0","id":8,"method":"rooms.create","params":{params}}}'.encode()


def next_members(room: str, cursor: str) -> bytes:
    """``rooms.members``."""
    params = f'{{"room":"{room}","cursor":"{cursor}"}}'
    return f'{{"jsonrpc":"2.0","id":9,"method":"rooms.members","params":{params}}}'.encode()
