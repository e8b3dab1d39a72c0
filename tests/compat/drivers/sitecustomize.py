"""Redirects the platform's hosts to the service under test, and trusts its authority. Python imports this at start.

The client's own code is not touched: what changes is where a host name leads, and which authority is trusted.
"""

from __future__ import annotations

import os
import socket
from importlib import import_module
from typing import Any

_PORT = int(os.environ["COMPAT_PORT"])
_AUTHORITY = os.environ["COMPAT_AUTHORITY"]
_HOSTS = os.environ["COMPAT_HOSTS"].split(",")
_getaddrinfo = socket.getaddrinfo


def _redirected(host: str | bytes, port: int, *arguments: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in _HOSTS or int(port) != 443:
        raise OSError(f"the client asked for {name}:{port}, which is no host of the platform")
    return _getaddrinfo("127.0.0.1", _PORT, *arguments, **options)


def _authority() -> str:
    return _AUTHORITY


# setattr: what is replaced has another, more exact type.
setattr(socket, "getaddrinfo", _redirected)  # noqa: B010
setattr(import_module("certifi"), "where", _authority)  # noqa: B010
