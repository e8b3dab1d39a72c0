"""Replies as records, and refusals as errors: those that are malformed too."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from greenroom.codes import ErrorCode
from greenroom.core.requests import EndRequest, OpenRequest, TokenFacts
from greenroom.engines.redis import replies
from greenroom.engines.redis.arguments import CREATED
from greenroom.errors import (
    GreenroomError,
    InvitationAnsweredError,
    ParticipantBlockedError,
    RateLimitedError,
    RevisionConflictError,
    ServiceUnavailableError,
    SessionEndedError,
    TokenInvalidError,
)
from greenroom.model import EndReason, ParticipantRecord, Presence, RegistryState, RoomGrant

GRANTED = b'a b rooms=[{"name":"r\\u0020*","can":["join"]}]'


@pytest.mark.parametrize(
    ("counts", "presence"),
    [({}, Presence.OFFLINE), ({"n": 2}, Presence.UNREACHABLE), ({"n": 2, "on": 1}, Presence.ONLINE)],
)
def test_presence_follows_from_the_counts(counts: dict[str, int], presence: Presence) -> None:
    flat = [str(text).encode() for pair in counts.items() for text in pair]
    found = replies.participant([b"app", b"app", b"id", b"anna", *flat])
    assert (found.presence, found.sessions) == (presence, counts.get("n", 0))
    assert (found.app, found.id) == ("app", "anna")
    assert (found.external_id, found.attributes, found.last_seen) == (None, None, None)


def test_a_presence_of_a_version_to_come_is_offline_to_watchers() -> None:
    assert replies.participant([b"shown", b"asleep"]).shown is Presence.OFFLINE
    assert replies.participant([b"shown", b"online"]).shown is Presence.ONLINE


def test_a_session_is_read_with_and_without_what_may_be_missing() -> None:
    bare = replies.session([b"id", b"p1-x"])
    assert (bare.id, bare.generation, bare.state, bare.scopes, bare.rooms) == (
        "p1-x",
        1,
        RegistryState.ATTACHED,
        (),
        (),
    )
    flat = [
        b"id", b"p1-x", b"gen", b"3", b"state", b"closed", b"reason", b"kicked", b"scopes", GRANTED,
        b"rooms", b'["r1","r2"]', b"tg", b"", b"status", b"", b"lost", b'[["r3","kicked"]]', b"newer", b"?",
    ]  # fmt: skip
    record = replies.session(flat, [b'[5,"ended","n1",""]'])
    assert (record.generation, record.state, record.end_reason) == (3, RegistryState.CLOSED, EndReason.KICKED)
    assert (record.scopes, record.room_grants) == (("a", "b"), (RoomGrant(name="r *", can=("join",)),))
    assert (record.rooms, record.token_grace_since, record.status) == (("r1", "r2"), None, None)
    assert [(entry.at, entry.what) for entry in record.timeline] == [(5, "ended")]
    assert replies.lost_rooms(flat) == (("r3", "kicked"),)
    assert replies.lost_rooms([]) == ()


@pytest.mark.parametrize(
    "flat",
    [[b"id"], [b"gen", b"x"], [b"reason", b"bored"], [b"rooms", b"["], [b"scopes", b"a rooms={}"], [b"id", b"\xff"]],
)
def test_what_no_version_writes_is_an_error_and_no_record(flat: list[bytes]) -> None:
    with pytest.raises(ValueError):
        replies.session(flat)


def test_what_was_created_is_said_by_the_request() -> None:
    request = OpenRequest(
        app="app", participant_id="anna", external_id=None, open_id="o", secret_hash=b"", session_id="p1-x", node="n",
        lease="l", token=TokenFacts(jti="j", issued_at=1, expires_at=2, scopes=("a",)), status="available",
        device_id="d",
    )  # fmt: skip
    record = replies.created(request, 99)
    assert (record.id, record.opened_at, record.state, record.generation) == ("p1-x", 99, RegistryState.ATTACHED, 1)
    assert (record.status, record.device_id, record.token_expires_at) == (None, "d", 2)
    assert replies.created(msgspec.structs.replace(request, status="busy"), 99).status == "busy"


def test_what_was_ended_is_as_it_was_owned() -> None:
    stored = {"app": b"app", "pid": b"anna", "state": b"detached", "gen": b"3", "node": b"n", "lease": b"l"}
    stored |= {"opened": b"1", "detached": b"2", "rooms": b'["r"]'}
    request = EndRequest(session_id="p1-x", reason=EndReason.KICKED, text="why")
    flat = [value for name, text in stored.items() for value in (name.encode(), text)]
    record = replies.ended(request, flat, 9)
    assert (record.state, record.detached_at, record.ended_at) == (RegistryState.DETACHED, 2, 9)
    assert (record.end_reason, record.end_text, record.rooms) == (EndReason.KICKED, "why", ("r",))
    with pytest.raises(ValueError, match="zip"):
        replies.ended(request, [b"app"], 9)


def test_what_was_written_since_the_open_counts_and_what_a_later_version_added_is_left_out() -> None:
    texts = {name.rstrip("?"): "1" for name in CREATED} | {
        "state": "attached",
        "scopes": "a",
        "dev": "",
        "status": "busy",
    }
    packed = "\0".join([*texts.values(), "later", ""]).encode()
    record = replies.session([b"state", b"detached", b"v2", packed, b"status", b"", b"detached", b"7"])
    assert (record.id, record.state, record.detached_at) == ("1", RegistryState.DETACHED, 7)
    assert (record.device_id, record.device_name, record.status) == (None, "1", None)


def refusal(word: bytes, **details: Any) -> GreenroomError:
    with pytest.raises(GreenroomError) as caught:
        replies.accepted([b"no", word, msgspec.json.encode(details)])
    return caught.value


def test_what_follows_ok_is_the_reply() -> None:
    assert replies.accepted([b"ok"]) == []
    assert replies.accepted([b"ok", 1, [b"x"]]) == [1, [b"x"]]


def test_what_a_call_failed_with_is_raised() -> None:
    with pytest.raises(ServiceUnavailableError, match="away"):
        replies.accepted(ServiceUnavailableError("away"))


@pytest.mark.parametrize(
    ("word", "kind", "code"),
    [
        (b"recovering", ServiceUnavailableError, ErrorCode.ENGINE_RECOVERING),
        (b"fenced", ServiceUnavailableError, ErrorCode.FENCED),
        (b"state_lost", SessionEndedError, ErrorCode.STATE_LOST),
        (b"superseded", SessionEndedError, ErrorCode.ATTEMPT_SUPERSEDED),
        (b"revoked", TokenInvalidError, ErrorCode.TOKEN_REVOKED),
        (b"disabled", TokenInvalidError, ErrorCode.APPLICATION_DISABLED),
    ],
)
def test_a_refusal_is_its_error(word: bytes, kind: type[GreenroomError], code: ErrorCode) -> None:
    error = refusal(word)
    assert type(error) is kind
    assert error.code is code


def test_a_refusal_brings_its_details() -> None:
    ended = refusal(b"ended", end_reason="kicked")
    assert isinstance(ended, SessionEndedError)
    assert ended.end_reason == "kicked"
    blocked = refusal(b"blocked", until=5)
    assert isinstance(blocked, ParticipantBlockedError)
    assert blocked.until == 5
    answered = refusal(b"invitation_answered", accepted=False)
    assert isinstance(answered, InvitationAnsweredError)
    record = ParticipantRecord(app="app", id="anna", revision=3)
    conflict = refusal(b"conflict", participant=msgspec.json.encode(record).decode())
    assert isinstance(conflict, RevisionConflictError)
    assert conflict.participant == record


def test_a_room_s_budget_is_waited_for_a_second_at_most() -> None:
    waits = [refusal(b"rate_limited", retry_after=ms) for ms in (300, 90_000)]
    assert [error.retry_after for error in waits if isinstance(error, RateLimitedError)] == [0.3, 1.0]


def test_every_word_that_the_functions_refuse_with_is_known() -> None:
    """And one of a version to come is retryable, and named."""
    for word in replies._ERRORS:
        details = {"scope": "s", "participant": '{"app":"a","id":"i"}', "count": 1, "size": 1, "accepted": True}
        assert not str(refusal(word, retry_after=1, **details)).startswith("The engine answered")
    error = refusal(b"moon_phase")
    assert isinstance(error, ServiceUnavailableError)
    assert "moon_phase" in str(error)
