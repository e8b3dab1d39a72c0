"""The machine's state, and the effects that its shell has not carried out yet."""

from __future__ import annotations

from greenroom.core.client.effects import AppEvent, Effect, Notify, StateChanged
from greenroom.core.states import CLIENT_TRANSITIONS, ClientEvent, SessionState, step


class Output:
    """Shared by all parts of one machine: effects leave in the order in which the parts emitted them."""

    def __init__(self) -> None:
        self.state = SessionState.DISCONNECTED
        self._effects: list[Effect] = []

    def emit(self, *effects: Effect) -> None:
        self._effects += effects

    def notify(self, event: AppEvent) -> None:
        self.emit(Notify(event))

    def apply(self, event: ClientEvent) -> None:
        """The only method that changes the state."""
        state = step(CLIENT_TRANSITIONS, self.state, event)
        if state is not None and state is not self.state:
            self.state = state
            self.emit(StateChanged(state))

    def take(self) -> list[Effect]:
        """The effects since the last call."""
        effects, self._effects = self._effects, []
        return effects
