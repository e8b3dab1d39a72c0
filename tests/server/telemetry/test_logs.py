"""What the net below every log line catches."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from greenroom.server.telemetry import logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON; logging is as before afterwards."""
    stream = io.StringIO()
    root = logging.getLogger("greenroom")
    before = (tuple(root.handlers), root.level, root.propagate)
    logs.configure("info", "json", stream)
    yield stream
    root.handlers[:], root.level, root.propagate = list(before[0]), before[1], before[2]
    structlog.reset_defaults()


def test_the_password_of_an_address_is_not_logged(lines: io.StringIO) -> None:
    log = structlog.stdlib.get_logger("greenroom.test")
    address = "redis://user:s3cret@redis.example:6379"
    log.warning("away", engine=address, error=f"Error 111 connecting to {address}.")
    try:
        raise ValueError(address)
    except ValueError:
        log.exception(f"cannot reach {address}")
    logging.getLogger("greenroom.http").warning("asked for %s", address)
    text = lines.getvalue()
    assert "s3cret" not in text
    assert text.count("redis://***@redis.example:6379") >= 5


def test_tokens_and_what_is_named_a_secret_are_not_logged(lines: io.StringIO) -> None:
    structlog.stdlib.get_logger("greenroom.test").info("x", token="s3cret", why="eyJhbGciOiJF.eyJpc3MiOiJ4.s3cret")
    assert json.loads(lines.getvalue()).items() >= {"token": "***", "why": "***"}.items()
