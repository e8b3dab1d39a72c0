"""Every method of the protocol does something, and nothing else does."""

from __future__ import annotations

from greenroom import messages
from greenroom.core.server.methods import JOINS, METHODS


def test_each_method_of_the_protocol_has_its_function() -> None:
    assert METHODS.keys() == messages.METHODS.keys() - {"ping"}
    assert METHODS.keys() > JOINS
