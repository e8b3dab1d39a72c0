"""From sessions to presence, and when watchers and webhooks are notified of it (promise 4).

``presence`` is the truth. ``shown`` is what watchers see: it follows at once, but for `unreachable`, which is shown
only when it has lasted for NOTIFY_AFTER seconds, so that a reload or a short gap is not noticed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from greenroom.model import Presence

AVAILABLE = "available"
"""The status of a session that has said nothing else."""
BUSY = "busy"
AWAY = "away"
_STATUS_RANK = {BUSY: 2, AWAY: 3}
"""How available a status is, the lowest first; a text of the app's own is 1."""

_ONLINE, _UNREACHABLE, _OFFLINE = Presence.ONLINE, Presence.UNREACHABLE, Presence.OFFLINE


class Showing(msgspec.Struct):
    """What follows from a change of a participant's sessions.

    since: the partition-clock instant since which the participant is unreachable, None where it is not.
    news: the presence to notify of now (an event ``participant.<news>``), None where there is nothing new.
    """

    presence: Presence
    shown: Presence
    since: int | None
    news: Presence | None


def presence_of(connected: int, sessions: int) -> Presence:
    """The truth: ``connected`` of ``sessions`` have a connection."""
    if connected > 0:
        return _ONLINE
    return _UNREACHABLE if sessions > 0 else _OFFLINE


def show(*, connected: int, sessions: int, shown: Presence, since: int | None, clock: int) -> Showing:
    """After any change of a participant's sessions: the truth, and what to notify of at once."""
    presence = presence_of(connected, sessions)
    if presence is _UNREACHABLE:
        return Showing(presence, shown, clock if since is None else since, None)
    return Showing(presence, presence, None, None if presence is shown else presence)


def overdue(*, presence: Presence, shown: Presence, since: int | None, clock: int, after: int) -> Presence | None:
    """At a reaper pass: what has lasted long enough to be shown now, or None. ``after`` in the clock's unit."""
    if presence is not _UNREACHABLE or shown is _UNREACHABLE or since is None:
        return None
    return _UNREACHABLE if clock - since >= after else None


def shared_status(statuses: Iterable[str], sessions: int) -> str | None:
    """The participant's status, which is that of the most available of its ``sessions``, connected or not: `available`,
    then a text of the app's own (of several the one set last), then `busy`, then `away`. None is `available`, or that
    there is no session.

    statuses: of the sessions that set one other than `available`, the latest last.
    """
    known = list(statuses)
    if len(known) < sessions or not known:
        return None
    return min(reversed(known), key=lambda status: _STATUS_RANK.get(status, 1))
