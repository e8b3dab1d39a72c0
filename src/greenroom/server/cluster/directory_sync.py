"""Keeps this node's copy of the directory up to date, and applies what changed to the sessions that it holds."""

from __future__ import annotations

from collections.abc import Set

import structlog

from greenroom.core.commands import DirectoryCommand
from greenroom.errors import ServiceUnavailableError
from greenroom.model import Application, Restriction, SealedKey
from greenroom.server.sessions.hub import Hub
from greenroom.server.tenants.applications import Tenants

log = structlog.stdlib.get_logger("greenroom.server")


class DirectorySync:
    """One for each node. Before `load` nothing is read and nothing applied."""

    def __init__(self, tenants: Tenants, hub: Hub) -> None:
        self._tenants = tenants
        self._hub = hub
        self._is_loaded = False
        self._applied: dict[str, tuple[bool, int]] = {}
        """What open sessions were last checked against, by application: disabled, revoked_before."""
        self._revoked = frozenset(tenants.revocations.revoked_jtis)
        """Tokens, by application and jti, that open sessions were last checked against."""

    async def load(self) -> None:
        """For the first time. Raises GreenroomError."""
        await self._tenants.load()
        self._applied = self._current()
        self._is_loaded = True

    def copy(self) -> tuple[tuple[Application, ...], tuple[SealedKey, ...], tuple[Restriction, ...]]:
        """All that was read, for an engine that lost its directory: `Tenants.copy`."""
        return self._tenants.copy

    def changed(self, command: DirectoryCommand) -> None:
        """A node, perhaps this one, says that the directory has changed: apply what it says, else read again, soon."""
        if command.restrictions:
            self.apply(command)
        else:
            self._hub.spawn(self.read(None))

    def apply(self, change: DirectoryCommand) -> None:
        """These restrictions were made: they count here from now on."""
        self._tenants.apply(change.restrictions, change.before, change.after)
        if all(one.kind == "jti" for one in change.restrictions):
            # One token was revoked, and may name nobody: its sessions are in no participant's partition, where the
            # engine would have ended them. Those of a kick have been ended, and all sessions need not be looked at.
            self._check_sessions(set(), {(one.app, one.subject) for one in change.restrictions})

    def version_seen(self, version: int) -> None:
        """The engine's directory has this version; read it again where the copy is of another one."""
        if self._is_loaded and version != self._tenants.version:
            self._hub.spawn(self.read(version))

    async def read(self, version: int | None) -> None:
        """Read again (version: only if the copy is of another one; None: in any case), then let open sessions of
        applications that changed check their tokens again. An engine that is away is logged: the next beat asks again.
        """
        try:
            if version is None:
                await self._tenants.reload()
            else:
                await self._tenants.reload_if(version)
        except ServiceUnavailableError as error:
            log.warning("the directory was not read", error=error.message)
            return
        before, self._applied = self._applied, self._current()
        changed = {key for key, value in self._applied.items() if before.get(key) != value}
        revoked_before, self._revoked = self._revoked, frozenset(self._tenants.revocations.revoked_jtis)
        revoked = self._revoked - revoked_before
        if changed or revoked:
            self._check_sessions(changed, revoked)

    def _check_sessions(self, apps: Set[str], jtis: Set[tuple[str, str]]) -> None:
        """Let open sessions of these applications, or with these tokens, look at the directory again."""
        for connection in tuple(self._hub.sessions.values()):
            context = connection.context
            if context.app in apps or (context.app, context.jti) in jtis:
                connection.directory_changed()

    def _current(self) -> dict[str, tuple[bool, int]]:
        return {app.key: (app.disabled, app.revoked_before) for app in self._tenants.applications}
