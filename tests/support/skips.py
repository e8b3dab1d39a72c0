"""Which tests may be skipped, and why: the list is short, and everything else that skips fails the run.

A test that skips because something is missing has not shown anything. `make test` installs what tests need.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ALLOWED_SKIPS: tuple[str, ...] = (
    # Published vectors that are not ours to copy; the reason must name the folder.
    r"\bshared/vectors\b",
    # Network namespaces need root, or a kernel that gives user namespaces to everybody.
    r"\bnetwork namespaces? (is|are) not permitted\b",
    # One example of a how-to page is in Go, which nothing else needs.
    r"\bno Go on this machine\b",
    # The reason for a newer or older Python must say so.
    r"\bneeds Python 3\.\d+\b",
)
"""Regular expressions, searched in the reason given to `pytest.skip`."""


def forbidden_skips(skips: Iterable[tuple[str, str]]) -> list[str]:
    """Of (test, reason) pairs, those not covered by `ALLOWED_SKIPS`, as one line each."""
    return [
        f"{test}: {reason}"
        for test, reason in skips
        if not any(re.search(pattern, reason) for pattern in ALLOWED_SKIPS)
    ]
