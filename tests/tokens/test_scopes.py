from __future__ import annotations

import pytest

from greenroom.errors import IllegalArgumentError, ScopeMissingError
from greenroom.tokens import API_SCOPES, SESSION_SCOPES, has_scope, parse_scopes, require_scope


@pytest.mark.parametrize("known", [API_SCOPES, SESSION_SCOPES])
def test_none_asked_for_means_all(known: tuple[str, ...]) -> None:
    assert parse_scopes(None, known) == known


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("", ()),
        (" ", ()),
        ("conf:create", ("conf:create",)),
        ("session:update conf:create", ("session:update", "conf:create")),
        ("conf:create  conf:create", ("conf:create",)),
        ("*", ("*",)),
        ("* conf:create", ("*", "conf:create")),
    ],
)
def test_session_scopes(requested: str, granted: tuple[str, ...]) -> None:
    assert parse_scopes(requested, SESSION_SCOPES) == granted


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("comms:client_access_token:create", ("comms:client_access_token:create",)),
        ("comms:* sessions:read", ("comms:*", "sessions:read")),
        ("*", ("*",)),
    ],
)
def test_api_scopes(requested: str, granted: tuple[str, ...]) -> None:
    assert parse_scopes(requested, API_SCOPES) == granted


@pytest.mark.parametrize(
    ("requested", "known", "words"),
    [
        ("conf:create unknown:thing", SESSION_SCOPES, "The scope unknown:thing does not exist here."),
        ("Conf:Create", SESSION_SCOPES, "Did you mean conf:create?"),
        ("session:updates", SESSION_SCOPES, "Did you mean session:update?"),
        ("conf:create\tsession:update", SESSION_SCOPES, "does not exist here"),
        ("comms:*", SESSION_SCOPES, "The scope comms:* does not exist here."),
        ("sessions:*", API_SCOPES, "The scope sessions:* does not exist here."),
        ("COMMS:*", API_SCOPES, "The scope COMMS:* does not exist here."),
        ("session:update", API_SCOPES, "The scope session:update does not exist here."),
    ],
)
def test_a_scope_that_there_is_not_is_refused_by_name(requested: str, known: tuple[str, ...], words: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        parse_scopes(requested, known)
    assert words in str(caught.value)


def test_the_documented_scopes_are_all_there() -> None:
    assert set(SESSION_SCOPES) == {"conf:create", "notifications:set", "file:convert", "session:update"}
    ours = {
        *("sessions:read", "sessions:admin", "participants:read", "participants:admin", "events:read"),
        *("rooms:read", "rooms:admin"),
    }
    assert {scope for scope in API_SCOPES if not scope.startswith("comms:")} == ours
    assert len(API_SCOPES) == len(set(API_SCOPES)) == 18


def test_wildcards() -> None:
    assert has_scope(("*",), "sessions:admin")
    assert has_scope(("*",), "session:update")
    assert has_scope(("comms:*",), "comms:conf:create")
    assert not has_scope(("comms:*",), "sessions:read")
    assert not has_scope(("comms:*",), "comms")
    assert has_scope(("sessions:read",), "sessions:read")
    assert not has_scope(("sessions:read",), "sessions:admin")
    assert not has_scope(("sessions:read",), "Sessions:read")
    assert not has_scope((), "sessions:read")
    assert not has_scope(("sessions:*",), "sessions:read")


def test_the_error_names_the_scope() -> None:
    require_scope(("session:update",), "session:update")
    with pytest.raises(ScopeMissingError, match="session:update") as caught:
        require_scope(("conf:create",), "session:update")
    assert caught.value.scope == "session:update"
