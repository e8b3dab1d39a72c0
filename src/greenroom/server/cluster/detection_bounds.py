"""The bounds of promise 4 for one configuration: how long after something happened everybody knows."""

from __future__ import annotations

import msgspec

from greenroom.engines.base import NOTIFY_AFTER
from greenroom.server.config import ServerConfig

PROMPT = 1.0
"""Seconds in which what a socket reports is written and published."""
WHEEL = 1.0
"""Seconds by which a timer of a connection may be late."""


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from what happened. cause: for programs. what: for people. unreachable, ended: null where it does not
    come to that. notified: when watchers and webhooks are notified of `unreachable`; of a resume before that nobody is.
    counts_from: what the seconds count from, where it is not the cause itself."""

    cause: str
    what: str
    unreachable: float | None
    notified: float | None
    ended: float | None
    counts_from: str = ""


def bounds_of(config: ServerConfig) -> tuple[Bound, ...]:
    """Each row of promise 4, from the settings. The defaults give the figures of the promise itself."""
    silence = config.ping_interval + config.pong_timeout + WHEEL + PROMPT
    lapse = config.lease + config.reap_interval + PROMPT
    over = config.grace + config.reap_interval
    return (
        _bound("closed", "The client closed", None, PROMPT),
        _bound("reset", "The connection closed or was reset", PROMPT, PROMPT + over),
        _bound(
            "left", "The page was closed or reloaded", PROMPT, PROMPT + config.grace_going_away + config.reap_interval
        ),
        _bound("silent", "The client disappeared without closing", silence, silence + over),
        _bound("node", "Its node was killed, paused or cut off", lapse, lapse + over),
        _bound("restart", "The only node was restarted", 0.0, over, "the start"),
        _bound("engine", "The engine could not be reached", silence, silence + over, "its return"),
    )


def _bound(cause: str, what: str, unreachable: float | None, ended: float, counts_from: str = "") -> Bound:
    notified = None if unreachable is None else unreachable + NOTIFY_AFTER
    return Bound(
        cause=cause, what=what, unreachable=unreachable, notified=notified, ended=ended, counts_from=counts_from
    )
