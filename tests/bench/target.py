"""A service in this loop as the target of a scenario."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from greenroom.bench.client import Target, abandon
from tests.server.harness import running_service


@dataclass
class Progress:
    """Keeps what a scenario says of how far it is."""

    stages: list[tuple[str, int]] = field(default_factory=list)
    count: int = 0

    def stage(self, name: str, total: int) -> None:
        """A new stage."""
        self.stages.append((name, total))

    def done(self, count: int, latency: float | None = None) -> None:
        """So many more."""
        assert latency is None or latency > 0
        self.count += count


@asynccontextmanager
async def target(people: int, **settings: object) -> AsyncIterator[Target]:
    """So many participants with a token each; settings are fields of ServerConfig."""
    async with running_service(opens_per_second=100_000.0, **settings) as running:
        app = await running.new_application()
        names = [f"bench-{number}" for number in range(people)]
        port = int(running.url.rpartition(":")[2])
        made = Target("127.0.0.1", port, [app.token(one) for one in names], names, watcher=Progress())
        yield made
        await abandon(made)
