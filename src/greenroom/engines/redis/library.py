"""The Lua library: the shipped files as one, under a name that says their version and content (S21)."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

from greenroom.core.profile import MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES
from greenroom.core.rooms.names import MAX_ROOMS_OF_SESSION, MAX_ROSTER_ATTRIBUTES_BYTES, SHORTEST_EMPTY_TTL
from greenroom.engines.base import (
    ENDED_OF_APPLICATION,
    ENDED_OF_PARTICIPANT,
    ENDED_SESSION_MEMORY,
    LEASE,
    MAX_CLOCK_STEP,
    NOTIFY_AFTER,
    OPEN_ID_MEMORY,
    RECOVERY,
    RESTRICTION_MEMORY,
    RESTRICTIONS_OF_APPLICATION,
    TIMELINE_ENTRIES,
    UPDATE_EVENT_PERIOD,
    UPDATE_MEMORY,
)
from greenroom.engines.redis.arguments import CREATED, REQUESTS, in_lua, unpacked_in_lua
from greenroom.engines.rooms import (
    ENDED_OF_PASS,
    INVITATIONS_OF_INVITEE,
    MARK_AGE,
    MARK_CLAIM,
    MESSAGE_MEMORY,
    OLDEST_NUMBER,
    RECORD_PERIOD,
    REMOVAL_MEMORY,
    REMOVALS_KEPT,
    REPAIR_PERIOD,
    REPAIRS_OF_CALL,
    ROSTER_BYTES,
)
from greenroom.model import NAMING_FIELDS

LIBRARY_VERSION = 3
"""Raised when functions change what they take, answer or store. Libraries of two versions run side by side."""

OPEN_IDS_AT_HAND = 32
"""openIds of a participant that lie beside its sessions; further ones lie apart."""
KICKS_OF_CALL = 1000
"""Participants kept out of rooms, of one partition, of whom nodes have copies: those who are out longest."""
PAGE_OF_ROSTER = 500
"""Members of one page of a roster at most: a millisecond of Redis."""


class Library(NamedTuple):
    """name: also the prefix of its functions. code: what FUNCTION LOAD takes."""

    name: str
    code: str


@cache
def library() -> Library:
    """The library of this release. A changed file is a new name, so that no node ever runs another's functions."""
    folder = resources.files("greenroom.engines.redis") / "lua"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".lua")), key=lambda entry: entry.name)
    first, *others = (entry.read_text(encoding="utf-8") for entry in files)
    made = [in_lua(REQUESTS), unpacked_in_lua("CREATED", CREATED)]
    text = "\n".join([_constants(), first, *made, *others])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"greenroom_{LIBRARY_VERSION}_{digest}"
    return Library(name, f"#!lua name={name}\nlocal LIBRARY = '{name}'\n{text}")


def _constants() -> str:
    """What the functions share with the rest of the service, as Lua: each is defined once, in Python."""
    names: dict[str, float] = {
        "MARK_AGE_MS": MARK_AGE * 1000,
        "MARK_CLAIM_MS": MARK_CLAIM * 1000,
        "RECORD_PERIOD_MS": RECORD_PERIOD * 1000,
        "REMOVAL_MEMORY_MS": REMOVAL_MEMORY * 1000,
        "REMOVALS_KEPT": REMOVALS_KEPT,
        "OLDEST_NUMBER_MS": OLDEST_NUMBER * 1000,
        "MESSAGE_MEMORY_MS": MESSAGE_MEMORY * 1000,
        "EMPTY_TTL_MS": SHORTEST_EMPTY_TTL * 1000,
        "ENDED_OF_CALL": ENDED_OF_PASS / 2,
        "REPAIRS_OF_CALL": REPAIRS_OF_CALL,
        "REPAIR_PERIOD_MS": REPAIR_PERIOD * 1000,
        "ROSTER_BYTES": ROSTER_BYTES,
        "PAGE_OF_ROSTER": PAGE_OF_ROSTER,
        "MAX_ROSTER_ATTRIBUTES_BYTES": MAX_ROSTER_ATTRIBUTES_BYTES,
        "INVITATIONS_OF_INVITEE": INVITATIONS_OF_INVITEE,
        "KICKS_OF_CALL": KICKS_OF_CALL,
        "MAX_LOST": MAX_ROOMS_OF_SESSION,
        "LEASE_MS": LEASE * 1000,
        "NOTIFY_AFTER_MS": NOTIFY_AFTER * 1000,
        "MAX_STEP_MS": MAX_CLOCK_STEP * 1000,
        "OPEN_ID_MEMORY_MS": OPEN_ID_MEMORY * 1000,
        "ENDED_MEMORY_MS": ENDED_SESSION_MEMORY * 1000,
        "RECOVERING_MS": RECOVERY * 1000,
        "RESTRICTION_MEMORY_MS": RESTRICTION_MEMORY * 1000,
        "UPDATE_EVENT_PERIOD_MS": UPDATE_EVENT_PERIOD * 1000,
        "ENDED_OF_PARTICIPANT": ENDED_OF_PARTICIPANT,
        "ENDED_OF_APPLICATION": ENDED_OF_APPLICATION,
        "RESTRICTIONS_OF_PARTITION": RESTRICTIONS_OF_APPLICATION / 8,
        "UPDATE_MEMORY": UPDATE_MEMORY,
        "MAX_ATTRIBUTES": MAX_ATTRIBUTES,
        "MAX_ATTRIBUTES_BYTES": MAX_ATTRIBUTES_BYTES,
        "TIMELINE_ENTRIES": TIMELINE_ENTRIES,
        "OPEN_IDS_AT_HAND": OPEN_IDS_AT_HAND,
    }
    lines = [f"local {name} = {value:.0f}" for name, value in names.items()]
    lines.append(f"local NAMING_FIELDS = {{{', '.join(repr(text) for text in NAMING_FIELDS)}}}")
    return "\n".join(lines)
