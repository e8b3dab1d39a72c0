"""One method changes the state, by the table; effects leave in order."""

from __future__ import annotations

import itertools

import pytest

from greenroom.core.client import effects as fx
from greenroom.core.client.output import Output
from greenroom.core.states import CLIENT_TRANSITIONS, ClientEvent, SessionState, step


@pytest.mark.parametrize(("state", "event"), list(itertools.product(SessionState, ClientEvent)))
def test_every_pair_of_state_and_event(state: SessionState, event: ClientEvent) -> None:
    output = Output()
    output.state = state
    output.apply(event)
    expected = step(CLIENT_TRANSITIONS, state, event)
    assert output.state == (state if expected is None else expected)
    changes = [effect.state for effect in output.take() if isinstance(effect, fx.StateChanged)]
    assert changes == ([] if output.state is state else [output.state])


def test_effects_leave_once_and_in_order() -> None:
    output = Output()
    output.emit(fx.Dial(1))
    output.apply(ClientEvent.OPEN)
    output.emit(fx.Dial(2), fx.Dial(3))
    assert output.take() == [fx.Dial(1), fx.StateChanged(SessionState.CONNECTING), fx.Dial(2), fx.Dial(3)]
    assert output.take() == []
