"""What is read again when the directory changes, and the sessions that are measured by it anew."""

from __future__ import annotations

import structlog

from greenroom.errors import ServiceUnavailableError
from greenroom.server.sessions.hub import Hub
from greenroom.server.tenants.applications import Tenants

log = structlog.stdlib.get_logger("greenroom.server")


class Standing:
    """How each application stands: whether it is disabled, and from when on its tokens are good."""

    def __init__(self, tenants: Tenants, hub: Hub) -> None:
        self._tenants = tenants
        self._hub = hub
        self._enforced: dict[str, tuple[bool, int]] = {}
        """What open sessions were last measured by: disabled, revoked_before."""

    async def load(self) -> None:
        """For the first time. Raises GreenroomError."""
        await self._tenants.load()
        self._enforced = self._now()

    def soon(self) -> None:
        """Read again: somebody said that it has changed."""
        self._hub.spawn(self.read(None))

    def at(self, number: int) -> None:
        """The directory has this number; read again where it is another than ours."""
        if number != self._tenants.version:
            self._hub.spawn(self.read(number))

    async def read(self, number: int | None) -> None:
        """Read again, None: in any case; sessions of applications that stand otherwise now are measured anew. An engine
        that is away is logged: the next beat asks again."""
        try:
            if number is None:
                await self._tenants.reload()
            else:
                await self._tenants.reload_if(number)
        except ServiceUnavailableError as error:
            log.warning("the directory was not read", error=error.message)
            return
        before, self._enforced = self._enforced, self._now()
        changed = {key for key, value in self._enforced.items() if before.get(key) != value}
        if changed:
            for connection in tuple(self._hub.sessions.values()):
                if connection.machine.app in changed:
                    connection.directory_changed()

    def _now(self) -> dict[str, tuple[bool, int]]:
        return {app.key: (app.disabled, app.revoked_before) for app in self._tenants.applications}


__all__ = ["Standing"]
