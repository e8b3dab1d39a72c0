"""/asyncapi.json: valid by AsyncAPI's own schema, and true to what is on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from greenroom import messages
from greenroom.codes import ErrorCode
from greenroom.errors import IllegalArgumentError
from greenroom.model import Presence
from greenroom.server.api.asyncapi import document
from tests.server.harness import running_service

# Installed with the browser SDK's tools (npm ci), which `make test` does first.
SPECS = Path(__file__).parents[3] / "browser" / "node_modules" / "@asyncapi" / "specs" / "schemas"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(msgspec.json.encode(document(version="1.2.3")))
    return made


def test_it_is_valid_asyncapi_3(described: dict[str, Any]) -> None:
    schema = json.loads((SPECS / "3.0.0-without-$id.json").read_text())
    jsonschema.Draft7Validator(schema).validate(described)


def test_the_validation_can_fail(described: dict[str, Any]) -> None:
    schema = json.loads((SPECS / "3.0.0-without-$id.json").read_text())
    broken = json.loads(json.dumps(described))
    broken["operations"]["sessionOpen"]["action"] = "take"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(broken)


def test_every_method_and_notification_is_an_operation(described: dict[str, Any]) -> None:
    count = len(messages.METHODS) + len(messages.NOTIFICATIONS)
    assert len(described["operations"]) == count
    assert described["channels"]["session"]["address"] == messages.PATH
    received = {name for name, one in described["operations"].items() if one["action"] == "receive"}
    assert len(received) == len(messages.METHODS)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    references = list(_references(described))
    assert len(references) > 50
    for reference in references:
        found: Any = described
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


PARTICIPANT = messages.WireParticipant(
    id="p", revision=1, version=2, presence=Presence.ONLINE, sessions=1, last_seen=None, name="Anna"
)
OPENED = messages.OpenResult(session=messages.WireSession("s", 1, 40.0, 5), participant=PARTICIPANT, scopes=["*"])


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("sessionOpenReply", messages.encode_reply(1, OPENED)),
        (
            "sessionOpenRequest",
            messages.encode_request(
                1, "session.open", messages.OpenParams(token="t", open_id="o", resume_secret="s" * 43)
            ),
        ),
        (
            "participantsChangedNotification",
            messages.encode_notification("participants.changed", messages.ParticipantsChanged([PARTICIPANT])),
        ),
        (
            "sessionEndedNotification",
            messages.encode_notification("session.ended", messages.SessionEnded(reason="kicked")),
        ),
        ("errorReply", messages.encode_error(7, IllegalArgumentError("x", code=ErrorCode.ILLEGAL_ARGUMENT))),
    ],
)
def test_what_is_sent_fits_its_description(described: dict[str, Any], name: str, raw: bytes) -> None:
    payload = described["components"]["messages"][name]["payload"]
    validator = jsonschema.Draft202012Validator({**payload, "components": described["components"]})
    validator.validate(json.loads(raw))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"jsonrpc": "2.0"})


async def test_it_is_served_to_any_origin() -> None:
    async with running_service() as running, running.http.get(running.url + "/asyncapi.json") as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert (await reply.json())["asyncapi"] == "3.0.0"
