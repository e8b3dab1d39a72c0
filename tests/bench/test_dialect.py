"""What the generator says to a server, and what it makes of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from greenroom.bench import dialect
from greenroom.bench.dialect import GreenroomDialect, Said
from greenroom.messages import decode_params, decode_request

SPEAKS = GreenroomDialect()


@pytest.mark.parametrize(
    ("message", "method", "params"),
    [
        (SPEAKS.hello("a.b.c", 7), "session.open", {"token": "a.b.c"}),
        (SPEAKS.echo(), "ping", {}),
        (SPEAKS.watch(["anna", "ben"]), "participants.watch", {"externalIds": ["anna", "ben"]}),
        (SPEAKS.watch([]), "participants.watch", {"externalIds": []}),
        (SPEAKS.rename("Anna"), "session.updateParticipantInfo", {"name": "Anna"}),
        (SPEAKS.join("r"), "rooms.join", {"room": "r"}),
        (SPEAKS.leave("r"), "rooms.leave", {"room": "r"}),
        (SPEAKS.say("r", "Hello 1"), "rooms.send", {"room": "r", "message": "Hello 1"}),
        (dialect.create_counted_room("r"), "rooms.create", {"room": "r", "detailed": False}),
        (dialect.next_members("r", "c"), "rooms.members", {"room": "r", "cursor": "c"}),
        (
            dialect.resume("s", "x" * 64, "y" * 64, 2, {"r": 5}),
            "session.resume",
            {
                "sessionId": "s",
                "resumeSecret": "x" * 64,
                "nextSecret": "y" * 64,
                "attempt": 2,
                "watchingRooms": [["r", 5]],
            },
        ),
    ],
)
def test_messages_are_those_of_the_protocol(message: bytes, method: str, params: dict[str, Any]) -> None:
    request = decode_request(message)
    assert request.method == method
    decode_params(method, request.params)  # the service takes it
    said = json.loads(message)["params"]
    assert {name: said[name] for name in params} == params


def test_ids_and_secrets_are_new_each_time() -> None:
    for made in (SPEAKS.rename("Anna"), SPEAKS.say("r", "x"), SPEAKS.hello("t", 0)):
        assert made != SPEAKS.rename("Anna")
    assert len({SPEAKS.say("r", "x") for _ in range(3)}) == 3
    assert len(bytes.fromhex(dialect.secret())) == 32


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b'{"id":1,"result":{},"jsonrpc":"2.0"}', Said.DONE),
        (b'{"id":1,"error":{"code":1},"jsonrpc":"2.0"}', Said.REFUSED),
        (b'{"id":1,"result":{"name":"Anna, who is called \\"error\\":{"}}', Said.DONE),
        (b'{"method":"participants.changed","params":{}}', Said.NOTICE),
        (b"{}", Said.OTHER),
        (b"", Said.OTHER),
    ],
)
def test_what_a_message_is(message: bytes, said: Said) -> None:
    assert SPEAKS.kind(message) is said
