"""What the Redis behind the engine really promises, and what it is refused for (S16)."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.engines.redis.store import ServerFacts
from greenroom.errors import IllegalArgumentError

OLDEST = (7, 0)


def check(facts: Sequence[ServerFacts]) -> None:
    """Raises IllegalArgumentError for a server that must not be used."""
    for server in facts:
        if _version(server.version) < OLDEST:
            raise IllegalArgumentError(
                f"Redis at {server.address} is version {server.version}.", hint="Use Redis 7.0 or newer."
            )
        if server.maxmemory_policy not in (None, "noeviction"):
            raise IllegalArgumentError(
                f"Redis at {server.address} evicts: its maxmemory-policy is {server.maxmemory_policy}.",
                hint="Set maxmemory-policy noeviction: an evicted key is a session that is lost.",
            )


def describe(facts: Sequence[ServerFacts], wait_replicas: int) -> tuple[str, ...]:
    """A line for each promise, and for what it lacks."""
    lines: list[str] = []
    for server in facts:
        lines.append(
            f"Redis {server.version} at {server.address}: AOF {_word(server.append_only)}, fsync"
            f" {server.append_fsync or 'unknown'}, min-replicas-to-write {_number(server.min_replicas_to_write)},"
            f" max-lag {_number(server.min_replicas_max_lag)}, {server.replicas} replicas,"
            f" maxmemory-policy {server.maxmemory_policy or 'unknown'}"
        )
    if all(server.append_only and server.append_fsync == "always" for server in facts):
        lines.append("Restart of Redis: nothing that was acknowledged is lost.")
    elif all(server.append_only for server in facts):
        lines.append("Restart of Redis: what was acknowledged in the last second may be lost (appendfsync always).")
    else:
        lines.append("Restart of Redis: sessions may be lost; nodes write back what they hold (appendonly yes).")
    lines.append(_failover(facts, wait_replicas))
    return tuple(lines)


def _failover(facts: Sequence[ServerFacts], wait_replicas: int) -> str:
    missing = []
    if wait_replicas < 1:
        missing.append("wait_replicas=1")
    if any((server.min_replicas_to_write or 0) < 1 for server in facts):
        missing.append("min-replicas-to-write 1")
    if any((server.min_replicas_max_lag or 10) > 1 for server in facts):
        missing.append("min-replicas-max-lag 1")
    if not missing:
        return "Failover: nothing that was acknowledged is lost."
    return f"Failover: what was acknowledged in the last seconds may be lost (set {', '.join(missing)})."


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _word(value: bool | None) -> str:
    return "unknown" if value is None else "on" if value else "off"


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)
