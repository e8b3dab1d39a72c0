"""Settings of an application as they are written on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from greenroom.cli.exits import CliError, Exit


def patch_of(changes: Iterable[str]) -> dict[str, Any]:
    """``policy.maxSessions=3`` … as the body of a PATCH. Values are JSON; what is not is taken as text. Raises
    CliError."""
    patch: dict[str, Any] = {}
    for change in changes:
        name, divider, text = change.partition("=")
        *outer, last = name.split(".")
        if not divider or not last:
            raise CliError(f"{change!r} is not NAME=VALUE.", Exit.USAGE)
        place = patch
        for part in outer:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise CliError(f"{part} is set both as a whole and in part. Set it in one way.", Exit.USAGE)
        place[last] = _value(text)
    return patch


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings with dotted names, and values as they are written."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
