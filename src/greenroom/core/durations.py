"""Durations as people write them: ``90``, ``10s``, ``1.5h``, ``2d``."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds. A number alone is seconds; units are ms, s, m (or min), h, d, w, in any letter case. Raises ValueError
    that says what is allowed."""
    match = _FORM.fullmatch(text.lower())
    seconds = None if match is None else _SECONDS.get(match[2] or "s")
    if match is None or seconds is None:
        raise ValueError(f"{text!r} is not a duration. Write it as 90 (seconds), 10s, 5m, 1.5h or 2d.")
    return float(match[1]) * seconds
