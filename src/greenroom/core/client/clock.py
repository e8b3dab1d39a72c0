"""The service's time, whatever the device's clock says."""

from __future__ import annotations


class ServiceClock:
    """Unix seconds of the service, once it has sent them; until then those of the device, which may be wrong by years.

    Between two replies time is counted by whichever of the device's clocks ran further: the monotonic one stands still
    while the device sleeps, and the wall clock may be set back.
    """

    def __init__(self) -> None:
        self.is_known = False
        """Whether the service has sent its time."""
        self._now = self._wall = 0.0
        self._base = 0.0
        self._learned_now = self._learned_wall = 0.0

    def note(self, now: float, wall: float) -> None:
        """The present instant on both clocks of the device."""
        self._now, self._wall = now, wall

    def learn(self, service_time: float) -> None:
        """The service said that it is this time now, in Unix seconds."""
        self.is_known = True
        self._base, self._learned_now, self._learned_wall = service_time, self._now, self._wall

    @property
    def time(self) -> float:
        if not self.is_known:
            return self._wall
        return self._base + max(self._now - self._learned_now, self._wall - self._learned_wall)
