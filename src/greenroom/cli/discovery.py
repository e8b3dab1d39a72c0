"""Where the service and secrets are found when no option names them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from greenroom.cli.exits import CliError, Exit

DEFAULT_URL = "http://127.0.0.1:7465"
DEFAULT_DATA = Path("greenroom-data")
SERVICE_FILE = "service.json"
"""Written into the data directory by `greenroom serve`: where it can be reached."""


def find_url(url: str | None, data: Path | None) -> str:
    """The service's URL, without a slash at its end."""
    if url is None:
        url = _from_service_file(data) or DEFAULT_URL
    return url.rstrip("/")


def find_admin_token(token: str | None, data: Path | None) -> str | None:
    """The admin token, or None where it is not to be found. Raises CliError."""
    if token := token or secret_in_file("GREENROOM_ADMIN_TOKEN"):
        return token.strip()
    path = (data or DEFAULT_DATA) / "admin-token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    except UnicodeDecodeError:
        raise CliError(f"{path} is not UTF-8 text.", Exit.USAGE) from None


def secret_in_file(variable: str) -> str | None:
    """What is in the file that the variable with _FILE at its end names, as container platforms mount secrets; None
    where it names none. Raises CliError."""
    path = os.environ.get(f"{variable}_FILE", "").strip()
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CliError(f"{variable}_FILE names {path}, which cannot be read: {why}.", Exit.USAGE) from None


def _from_service_file(data: Path | None) -> str | None:
    try:
        found = json.loads(((data or DEFAULT_DATA) / SERVICE_FILE).read_text(encoding="utf-8"))
        os.kill(found["pid"], 0)
        return str(found["url"])
    except (OSError, ValueError, KeyError, TypeError):
        # No file, a broken one, or one that a service which is gone has left.
        return None
