"""Scopes of API tokens and of client access tokens (tokens.md, scopes). Case-sensitive throughout."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from greenroom.errors import IllegalArgumentError, ScopeMissingError

CLIENT_ACCESS_TOKEN_CREATE = "comms:client_access_token:create"
SESSIONS_READ = "sessions:read"
SESSIONS_ADMIN = "sessions:admin"
PARTICIPANTS_READ = "participants:read"
PARTICIPANTS_ADMIN = "participants:admin"
EVENTS_READ = "events:read"
ROOMS_READ = "rooms:read"
ROOMS_ADMIN = "rooms:admin"
CONFERENCE_CREATE = "comms:conf:create"
CONFERENCE_ADMIN = "comms:conf:admin"
CONFERENCE_DESTROY = "comms:conf:destroy"

API_SCOPES: tuple[str, ...] = (
    CLIENT_ACCESS_TOKEN_CREATE,
    CONFERENCE_CREATE,
    CONFERENCE_ADMIN,
    CONFERENCE_DESTROY,
    "comms:monitor:delete",
    "comms:monitor:read",
    "comms:monitor:download",
    "comms:stream:write",
    "comms:remix:write",
    "comms:remix:read",
    "comms:record:write",
    SESSIONS_READ,
    SESSIONS_ADMIN,
    PARTICIPANTS_READ,
    PARTICIPANTS_ADMIN,
    EVENTS_READ,
    ROOMS_READ,
    ROOMS_ADMIN,
)
"""What an API token may be for: the platform's scopes and ours."""

CONF_CREATE = "conf:create"
NOTIFICATIONS_SET = "notifications:set"
FILE_CONVERT = "file:convert"
SESSION_UPDATE = "session:update"

SESSION_SCOPES: tuple[str, ...] = (CONF_CREATE, NOTIFICATIONS_SET, FILE_CONVERT, SESSION_UPDATE)
"""What a client access token may be for. Opening and closing need none of them."""

EVERYTHING = "*"
ALL_OF_COMMS = "comms:*"


def parse_scopes(requested: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The scopes to grant for what was asked, in the order asked, each once.

    requested: space-separated (RFC 6749, section 3.3). None: nothing was asked, so all of `known`. Empty: none.
    known: `API_SCOPES` or `SESSION_SCOPES`. The wildcards ``*`` and, where one of `known` is under it, ``comms:*``
        are known besides, and granted as they are.

    Raises `IllegalArgumentError` for an unknown scope, with what was probably meant.
    """
    if requested is None:
        return tuple(known)
    takes = {EVERYTHING, *known}
    if any(scope.startswith("comms:") for scope in known):
        takes.add(ALL_OF_COMMS)
    asked = dict.fromkeys(scope for scope in requested.split(" ") if scope)
    for scope in asked:
        if scope not in takes:
            close = get_close_matches(scope, takes, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"Allowed: {', '.join(sorted(takes))}."
            raise IllegalArgumentError(f"The scope {scope[:64]} does not exist here.", hint=hint)
    return tuple(asked)


def has_scope(granted: Collection[str], needed: str) -> bool:
    """Whether `granted` allows `needed`, wildcards counted."""
    if needed in granted or EVERYTHING in granted:
        return True
    return ALL_OF_COMMS in granted and needed.startswith("comms:")


def require_scope(granted: Collection[str], needed: str) -> None:
    """Raise `ScopeMissingError`, which names the scope, unless `has_scope`."""
    if not has_scope(granted, needed):
        raise ScopeMissingError(scope=needed)
