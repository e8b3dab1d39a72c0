"""A small HTTP client for the verbs, on the standard library: importing aiohttp would cost more than a whole call."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from greenroom.cli.discovery import find_admin_token, find_url
from greenroom.cli.exits import CliError, Exit, exit_of_status

TIMEOUT = 10.0
"""Seconds for one call."""

_MAX_REPLY = 16 * 1024 * 1024


class ServiceClient:
    """A running service, as the command line talks to it."""

    def __init__(self, url: str, admin_token: str | None = None, *, check_certificate: bool = True) -> None:
        self.url = url
        self._check_certificate = check_certificate
        self._admin_token = admin_token
        split = split_url(url)
        self._scheme, self._host, self._port = split.scheme, split.hostname or "", split.port
        self._base = split.path.rstrip("/")

    @classmethod
    def find(cls, url: str | None, data: Path | None, admin_token: str | None = None) -> ServiceClient:
        """The service that options, environment and data directory name."""
        return cls(find_url(url, data), find_admin_token(admin_token, data))

    @property
    def has_admin_token(self) -> bool:
        """Whether the admin token was found."""
        return self._admin_token is not None

    @property
    def admin_headers(self) -> dict[str, str]:
        """What identifies an operator. Raises CliError where there is no admin token."""
        if self._admin_token is None:
            raise CliError(
                "The admin token is needed. Give --admin-token or GREENROOM_ADMIN_TOKEN, "
                "or --data with the service's data directory.",
                Exit.CREDENTIALS,
            )
        return {"Authorization": f"Bearer {self._admin_token}"}

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """A call of /admin/v1; the reply as JSON. Raises CliError."""
        return self.call(method, "/admin/v1" + path, body, self.admin_headers)

    def form(self, path: str, fields: dict[str, str], key: str, secret: str) -> Any:
        """POST of a form with app key and secret; the reply as JSON. Raises CliError."""
        basic = b64encode(f"{key.strip()}:{secret.strip()}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", path, urlencode(fields).encode(), headers)

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Any call; the reply as JSON. Raises CliError."""
        raw = None if body is None else json.dumps(body).encode()
        kind = {} if raw is None else {"Content-Type": "application/json"}
        return self._send(method, path, raw, {**kind, **(headers or {})})

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        connection = self._connection()
        try:
            connection.request(method, self._base + path, body, {"Accept": "application/json", **headers})
            response = connection.getresponse()
            raw = response.read(_MAX_REPLY)
        except ssl.SSLCertVerificationError as error:
            raise CliError(
                f"The certificate of {self.url} is not trusted: {error.verify_message}. "
                "If it is of your own authority, name that: SSL_CERT_FILE=authority.pem.",
                Exit.UNREACHABLE,
            ) from None
        except ValueError:  # http.client: a header has neither line breaks nor letters beyond Latin-1
            raise CliError("The admin token or the app key has characters that neither can have.", Exit.USAGE) from None
        except (OSError, http.client.HTTPException) as error:
            raise CliError(
                f"No service answers at {self.url}: {_words_of(error)}. Is it running, and is --url right?",
                Exit.UNREACHABLE,
            ) from None
        finally:
            connection.close()
        return self._reply(response.status, raw)

    def _connection(self) -> http.client.HTTPConnection:
        if self._scheme == "https":
            context = ssl.create_default_context()
            if not self._check_certificate:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)

    def _reply(self, status: int, raw: bytes) -> Any:
        try:
            reply = json.loads(raw) if raw else {}
        except ValueError:
            raise CliError(f"What answers at {self.url} is not Greenroom.", Exit.UNREACHABLE) from None
        if not isinstance(reply, dict):
            raise CliError(f"What answers at {self.url} is not Greenroom.", Exit.UNREACHABLE)
        if status < 400:
            return reply
        text = reply.get("error_description") or f"The service answered with status {status}."
        raise CliError(str(text), exit_of_status(status))


def split_url(url: str) -> SplitResult:
    """The parts of a service's URL. Raises CliError for what is none."""
    try:
        split = urlsplit(url)
        (split.hostname or "").encode("idna")
        if (
            split.scheme in ("http", "https") and split.hostname and split.port != 0 and split.path.isascii()
            and url.isprintable() and not set(url) & set(" ?#")
        ):  # fmt: skip
            return split
    except ValueError:  # brackets that do not match, a port beyond 65,535, a name that the DNS cannot hold
        pass
    raise CliError(f"{url!r} is not the URL of a service. Write it as https://greenroom.example.", Exit.USAGE)


def local_service(file: Path | None) -> ServiceClient:
    """The service on this machine that the settings describe, reached by the address it listens on: its certificate
    is of a name that need not lead here."""
    from greenroom.server.config import load

    config = load(file, os.environ).config
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    scheme = "https" if config.tls_cert else "http"
    return ServiceClient(f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.port}", check_certificate=False)


def segment(text: str) -> str:
    """A path segment. Raises CliError where nothing is named, as by a variable that is not set."""
    if not text:
        raise CliError("An id or a name that was given is empty.", Exit.USAGE)
    return quote(text, safe="")


def _words_of(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return "what answers speaks no HTTP"
