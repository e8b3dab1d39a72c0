"""The server API for verbs: with an API token from app key and secret, or with the admin token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from greenroom.cli.exits import CliError, Exit
from greenroom.cli.service import ServiceClient

TOKEN_LIFE = 3600
"""Seconds; a verb that follows for longer gets another."""


def api_token(
    service: ServiceClient, key: str | None, secret: str | None, scope: str | None, life: int | None = None
) -> dict[str, Any]:
    """The reply of `POST /v1/auth/token`. Raises CliError."""
    if not key or not secret:
        raise CliError(
            "App key and secret are needed: --key and --secret, or GREENROOM_APP_KEY and GREENROOM_APP_SECRET. "
            "With the admin token, name the application instead: --app KEY.",
            Exit.USAGE,
        )
    asked = {"grant_type": "client_credentials", "scope": scope, "expires_in": life}
    fields = {name: str(value) for name, value in asked.items() if value is not None}
    reply: dict[str, Any] = service.form("/v1/auth/token", fields, key, secret)
    return reply


class ServerApi:
    """A service as the backend of one application sees it, or as an operator does with the admin token.

    renew: makes headers that identify the caller.
    """

    def __init__(self, service: ServiceClient, renew: Callable[[], dict[str, str]]) -> None:
        self._service = service
        self._renew = renew
        self.renew()

    @classmethod
    def find(
        cls,
        *,
        url: str | None,
        data: Path | None,
        key: str | None,
        secret: str | None,
        app: str | None,
        admin_token: str | None,
        scope: str,
    ) -> ServerApi:
        """The service that options, environment and data directory name. With `app`, or without key and secret where
        the service has one application, calls are made with the admin token. Raises CliError."""
        service = ServiceClient.find(url, data, admin_token)
        if app is None and not (key or secret) and service.has_admin_token:
            app = _only_application(service)
        if app is not None:
            return cls(service, lambda: service.admin_headers | {"Greenroom-App": app})
        return cls(
            service,
            lambda: {"Authorization": f"Bearer {api_token(service, key, secret, scope, TOKEN_LIFE)['access_token']}"},
        )

    def renew(self) -> None:
        """A new token, where one is used."""
        self._headers = self._renew()

    def call(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **query: Any
    ) -> Any:
        """A call of the server API; None among the query is left out. Raises CliError."""
        asked = [(name, one) for name, value in query.items() for one in _each(value)]
        target = f"{path}?{urlencode(asked)}" if asked else path
        return self._service.call(method, target, body, self._headers | (headers or {}))

    def pages(self, path: str, limit: int, **query: Any) -> list[Any]:
        """The items of as many pages as hold `limit` of them."""
        return list(islice(self.every(path, limit=min(1000, limit), **query), limit))

    def every(self, path: str, **query: Any) -> Iterator[Any]:
        """All items, read page after page of 1,000, or of the query's limit."""
        cursor: str | None = None
        while True:
            page = self.call("GET", path, None, **{"limit": 1000, **query, "cursor": cursor})
            yield from page["items"]
            cursor = page["cursor"]
            if cursor is None:
                return


def _only_application(service: ServiceClient) -> str:
    apps = service.admin("GET", "/applications")["items"]
    if len(apps) != 1:
        names = "; ".join(f"{one['appKey']} ({one['name']})" for one in apps) or "none; see greenroom apps create"
        raise CliError(f"Name the application with --app. There are: {names}.", Exit.USAGE)
    return str(apps[0]["appKey"])


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
