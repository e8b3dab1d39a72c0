"""What holds for every engine and is written once."""

from __future__ import annotations

import re

from greenroom.engines.base import RESTRICTION_MEMORY, restriction_expires
from greenroom.engines.redis.library import library
from greenroom.model import NAMING_FIELDS, Restriction, erased_subject

DAY_MS = 86_400_000


def _restriction(kind: str, **more: object) -> Restriction:
    return Restriction(app="a", kind=kind, subject="s", created_at=DAY_MS, **more)  # type: ignore[arg-type]


def test_restrictions_are_kept_while_a_token_of_their_time_may_live() -> None:
    kept = int(RESTRICTION_MEMORY * 1000)
    assert kept >= DAY_MS, "tokens live for up to a day"
    assert restriction_expires(_restriction("jti")) == DAY_MS + kept
    assert restriction_expires(_restriction("cutoff", before=1)) == DAY_MS + kept
    assert restriction_expires(_restriction("cutoff", before=2 * DAY_MS)) == 2000 * DAY_MS + kept
    assert restriction_expires(_restriction("block", lifted=True)) == DAY_MS + kept


def test_a_block_is_kept_until_it_ends() -> None:
    assert restriction_expires(_restriction("block")) is None
    assert restriction_expires(_restriction("block", until=5 * DAY_MS)) == 5 * DAY_MS


def test_an_erased_subject_is_a_hash_of_any_id() -> None:
    assert re.fullmatch("sha256:[0-9a-f]{64}", erased_subject("p"))
    assert erased_subject("\ud800") != erased_subject("p")


def test_lua_takes_what_it_shares_with_python_from_python() -> None:
    code = library().code
    assert f"local RESTRICTION_MEMORY_MS = {RESTRICTION_MEMORY * 1000:.0f}\n" in code
    assert f"local NAMING_FIELDS = {{{', '.join(map(repr, NAMING_FIELDS))}}}\n" in code
    assert code.count("'externalId'") == 1, "one list"
