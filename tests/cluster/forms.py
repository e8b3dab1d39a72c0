"""How large a crowd, and how long things stand still: the short form of `make test` and the long one of `make soak`."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.cluster.nodes import TIMERS


@dataclass(frozen=True)
class Form:
    """people: SDKs. standstill: seconds. grace: of the nodes; longer than an SDK waits between two attempts after such
    a standstill."""

    people: int
    standstill: float
    grace: float

    @property
    def ghost_bound(self) -> float:
        """Seconds within which whoever vanished with his node is gone: lease, grace, a pass of the reaper, and
        slack."""
        return TIMERS["lease"] + self.grace + 4.0


FORMS = [
    pytest.param(Form(120, 9.0, TIMERS["grace"]), id="short"),
    pytest.param(Form(2000, 60.0, 40.0), id="long", marks=[pytest.mark.soak, pytest.mark.timeout(1800)]),
]
BACK = 120.0
"""Seconds after which a crowd is given up on that is not at rest: bounds of rules are judged in virtual time
(`tests/testing/sim/test_bounds.py`)."""


__all__ = ["BACK", "FORMS", "Form"]
