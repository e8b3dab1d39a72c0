"""Greenroom as shipped, but that it never looks for changes that were not received (S13): ``python -m
tests.cluster.this_version serve …``. What reaches its sessions reaches them as a message, however busy the machine is.
"""

from __future__ import annotations

NEVER = 3600.0
"""Seconds."""


def look_for_nothing() -> None:
    """Change what is loaded."""
    from greenroom.engines.redis import bus
    from greenroom.server.cluster import recovery

    bus.SILENT_AFTER = recovery.NOTICE_AFTER = NEVER


if __name__ == "__main__":
    look_for_nothing()
    from greenroom.cli import main

    main()
