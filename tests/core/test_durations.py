"""`greenroom.core.durations`."""

from __future__ import annotations

import pytest

from greenroom.core.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("10s", 10), (" 5m ", 300), ("5 min", 300), ("1.5h", 5_400), ("2D", 172_800), ("1w", 604_800),
     ("250ms", 0.25), ("0", 0)],
)  # fmt: skip
def test_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1y", "-5s", "1h30", "ten", "1e3", "٣s", "5 5s"])
def test_what_is_not_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a duration. Write it as 90 \(seconds\), 10s"):
        parse_duration(text)
