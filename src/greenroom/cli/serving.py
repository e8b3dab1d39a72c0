"""The inside of ``greenroom serve``."""

from __future__ import annotations

from greenroom.server.config import ServerConfig


def run(config: ServerConfig, *, dev: bool, as_json: bool) -> None:
    """Runs the service until it is told to stop."""
    raise NotImplementedError
