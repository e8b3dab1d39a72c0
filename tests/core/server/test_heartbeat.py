"""Pings and pongs."""

from __future__ import annotations

from greenroom.core.requests import DetachRequest
from greenroom.core.server.effects import Abort
from tests.core.server.rig import Rig, S


def test_a_client_that_vanished_is_found_within_25_seconds() -> None:
    rig = Rig().open()
    rig.pass_time(15)
    assert rig.pings == 1
    rig.pass_time(7.9)
    assert rig.is_in(S.OPEN)
    rig.pass_time(0.2)
    assert rig.is_in(S.GONE)
    assert rig.others == [Abort(23.0)]
    assert rig.requests == [DetachRequest(rig.owner, 40.0)]
    assert rig.machine.deadline(rig.now) == float("inf")


def test_a_client_that_answers_pings_stays() -> None:
    rig = Rig().open()
    rig.pass_alive(120)
    assert rig.is_in(S.OPEN)
    assert rig.pings == 8


def test_what_else_comes_in_is_no_pong() -> None:
    """A half-open link in the other direction only: the client's messages come, ours are lost."""
    rig = Rig().open()
    for _ in range(30):
        rig.pass_time(1)
        rig.send("ping")
    assert rig.is_in(S.GONE)
