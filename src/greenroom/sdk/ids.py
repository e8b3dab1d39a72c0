"""What the SDK takes for ids, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

from greenroom.errors import IllegalArgumentError

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def checked_strings(field: str, ids: Iterable[str]) -> list[str]:
    """Each id once; a single string counts as one id. Raises IllegalArgumentError for what is not a string, or
    empty."""
    listed: list[object] = [ids] if isinstance(ids, str) else list(ids)
    names: list[str] = []
    for one in listed:
        if not isinstance(one, str) or not one:
            given = "an empty string" if one == "" else type(one).__name__
            raise IllegalArgumentError(f"{field} must hold strings that are not empty, not {given}.")
        names.append(one)
    return list(dict.fromkeys(names))


def checked_ids(field: str, ids: Iterable[str]) -> list[str]:
    """Participants' ids. Raises IllegalArgumentError for what cannot be one: nobody would ever be found by it."""
    names = checked_strings(field, ids)
    for one in names:
        if not _ID.fullmatch(one):
            external = one.removeprefix("ext:")
            raise IllegalArgumentError(
                f"{one!r} is not a participant's id, which is a UUID.",
                hint=f"For someone's external id pass external_ids=[{external!r}].",
            )
    return list(dict.fromkeys(one.lower() for one in names))
