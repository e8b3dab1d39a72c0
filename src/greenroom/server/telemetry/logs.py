"""Structured logs: one line an event, as JSON or for people. Nothing secret goes in; `mask` is the net below."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from greenroom.core.redaction import MASK, redact_addresses

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?")
_SECRET_KEYS = frozenset({"token", "secret", "resume_secret", "admin_token", "master_key", "authorization", "password"})


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blanks what is named like a secret, and tokens and the passwords of addresses wherever they stand."""
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = MASK
        elif isinstance(value, str):
            event[key] = redact_addresses(_TOKEN.sub(MASK, value) if "eyJ" in value else value)
    return event


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Sets logging up for the process. form: ``json``, ``text``, or ``auto`` (text on a terminal). stream: stderr."""
    stream = stream or sys.stderr
    as_json = form == "json" or (form == "auto" and not stream.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.format_exc_info,
        mask,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        )
    )
    root = logging.getLogger("greenroom")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared[:3],
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            mask,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
