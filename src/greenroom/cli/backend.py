"""The server API for verbs: an API token from app key and secret, then calls with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.service import Service

TOKEN_LIFE = 3600
"""Seconds; a verb that follows for longer gets another."""


class Backend:
    """A service as the backend of one application sees it. scope: what the token is for."""

    def __init__(self, service: Service, key: str | None, secret: str | None, scope: str) -> None:
        if not key or not secret:
            raise CliError(
                "App key and secret are needed: --key and --secret, or GREENROOM_APP_KEY and GREENROOM_APP_SECRET.",
                Exit.USAGE,
            )
        self._service = service
        self._key, self._secret, self._scope = key, secret, scope
        self.renew()

    @classmethod
    def find(cls, url: str | None, data: Path | None, key: str | None, secret: str | None, scope: str) -> Backend:
        """The service that options, environment and data directory name."""
        return cls(Service.find(url, data), key, secret, scope)

    def renew(self) -> None:
        """A new token."""
        fields = {"grant_type": "client_credentials", "scope": self._scope, "expires_in": str(TOKEN_LIFE)}
        self._token = self._service.form("/v1/auth/token", fields, self._key, self._secret)["access_token"]

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """A call of the server API; None among the query is left out. Raises CliError."""
        asked = [(name, one) for name, value in query.items() for one in _each(value)]
        target = f"{path}?{urlencode(asked)}" if asked else path
        return self._service.call(method, target, body, {"Authorization": f"Bearer {self._token}"})

    def pages(self, path: str, limit: int, **query: Any) -> list[Any]:
        """The items of as many pages as hold `limit` of them."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self.call("GET", path, None, cursor=cursor, limit=min(1000, limit - len(items)), **query)
            items += page["items"]
            cursor = page["cursor"]
            if cursor is None:
                break
        return items


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


__all__ = ["TOKEN_LIFE", "Backend"]
