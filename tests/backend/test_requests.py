"""How requests of the server API are written, and what answers that are none of its own become."""

from __future__ import annotations

import json

import pytest

from greenroom.backend.models import RoomInfo
from greenroom.backend.requests import Page, decoded, error_of, participant_segment, with_query, without_none
from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import IllegalArgumentError, ProtocolError, RateLimitedError


@pytest.mark.parametrize(
    ("participant_id", "external_id", "segment"),
    [("anna", None, "anna"), (None, "a/b ?#é", "ext%3Aa%2Fb%20%3F%23%C3%A9"), ("../x", None, "..%2Fx")],
)
def test_a_participant_is_one_segment_of_a_path(
    participant_id: str | None, external_id: str | None, segment: str
) -> None:
    assert participant_segment(participant_id, external_id) == segment


@pytest.mark.parametrize(("participant_id", "external_id"), [(None, None), ("a", "b"), ("", None), (None, "")])
def test_a_participant_is_named_in_one_way(participant_id: str | None, external_id: str | None) -> None:
    with pytest.raises(IllegalArgumentError):
        participant_segment(participant_id, external_id)


def test_a_query_leaves_out_what_is_none_and_repeats_a_list() -> None:
    query = {"limit": 5, "cursor": None, "type": ["a", "b&c"], "none": ()}
    assert with_query("/v1/events", query) == "/v1/events?limit=5&type=a&type=b%26c"
    assert with_query("/v1/events", {"cursor": None}) == "/v1/events"
    assert without_none(a=None, b=False) == {"b": False}


ROOM = {
    "name": "lobby", "id": "r1-x", "version": 2, "count": 1, "detailed": True, "ttl": 1.5, "openedAt": 5,
    "openedBy": None, "ending": False,
}  # fmt: skip


def test_what_a_newer_service_adds_is_ignored() -> None:
    room = decoded(json.dumps(ROOM | {"moonPhase": 3}).encode(), RoomInfo)
    assert (room.name, room.opened_at, room.opened_by, room.ttl) == ("lobby", 5, None, 1.5)
    page = decoded(b'{"items":[{"any":1}]}', Page)
    assert (bytes(page.items), page.cursor) == (b'[{"any":1}]', None)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", json.dumps(ROOM | {"count": "1"}).encode()])
def test_an_answer_of_somebody_else_is_named(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="proxy in between"):
        decoded(raw, RoomInfo)


def body(reason: str, **details: object) -> bytes:
    return json.dumps({"error_reason": reason, "error_description": "Said so.", "details": details}).encode()


@pytest.mark.parametrize(
    ("status", "raw", "code", "text"),
    [
        (404, body("Not_found"), ErrorCode.NOT_FOUND, "Said so."),
        (403, b"<html>", ErrorCode.SCOPE_MISSING, "The service answered 403."),
        (502, b"", ErrorCode.SERVICE_UNAVAILABLE, "The service answered 502."),
        (418, b"[]", ErrorCode.PROTOCOL_ERROR, "The service answered 418."),
        (409, b'{"error_reason": ["x"], "details": 5}', ErrorCode.CONFLICT, "The service answered 409."),
    ],
)
def test_an_error_has_the_services_words_where_it_has_some(status: int, raw: bytes, code: ErrorCode, text: str) -> None:
    error = error_of(status, raw, None)
    assert error.code is code
    assert error.message.startswith(text)


def test_a_reason_that_is_known_says_more_than_the_status() -> None:
    reasons = {row.reason: one for one, row in ERRORS.items()}
    for reason, code in reasons.items():
        details = {"participant": None}
        assert error_of(400, body(reason, **details), None).code is code
    assert error_of(401, body("Service_unavailable"), None).code is ErrorCode.TOKEN_INVALID


def test_how_long_to_wait_is_in_the_error() -> None:
    error = error_of(429, b"", 2.5)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 2.5
