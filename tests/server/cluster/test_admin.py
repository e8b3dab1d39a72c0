"""What operators ask of a node: how it is, a drain, a comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenroom.core.commands import CompareCommand, DrainCommand
from greenroom.engines.base import NodeRecord
from greenroom.errors import NotFoundError
from greenroom.server.cluster.admin import MAX_KEY_SETS, ClusterAdmin
from greenroom.server.cluster.node_listener import NodeListener
from greenroom.server.cluster.reaper import Reaper
from greenroom.server.config import ServerConfig
from tests.server.shell import Shell, owner_of, running_shell


class World:
    """A node, and what it was asked to do."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.stops = 0
        self.key_sets: dict[tuple[str, str], Any] = {}
        reaper = Reaper(
            shell.engine.registry, shell.engine.rooms, interval=1.0, may_act=lambda: True,
            notify=lambda _sessions, _reason: None, notify_lost=lambda _lost: None,
        )  # fmt: skip
        self.reaper = reaper
        self.admin = ClusterAdmin(
            shell.engine, shell.hub, shell.writes, shell.node, reaper, ServerConfig(grace=33.0),
            key_sets=cast(Any, SimpleNamespace(states=self.key_sets)), same_everywhere={"master_key": "fingerprint"},
            durability=("All of it.",), clocks=shell.clocks, random_hex=lambda: "1", stop=self.stop,
        )  # fmt: skip

    def stop(self) -> None:
        self.stops += 1


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with running_shell() as shell:
        yield World(shell)


async def test_a_node_says_how_it_is() -> None:
    async with world() as w:
        await w.shell.open()
        w.shell.clock.advance(2.5)
        w.reaper.lag, w.reaper.failing = 3.0, "away"
        status = w.admin.status()
        assert (status.node, status.state, status.uptime, status.not_ready) == ("n1", "acting", 2.5, None)
        assert (status.sessions, status.kept_writes, status.engine) == (1, 0, "embedded")
        assert (status.reaper_lag, status.reaper_failing, status.durability) == (3.0, "away", ("All of it.",))
        assert (status.settings["grace"], status.settings["master_key"]) == ("33.0", "fingerprint")


async def test_of_many_key_sets_that_fail_only_some_are_named_and_none_that_is_well() -> None:
    async with world() as w:
        for number in range(MAX_KEY_SETS + 10):
            failing = SimpleNamespace(age=None, failures=number % 2 + 1, why="no address")
            w.key_sets["app", f"iss_{number}"] = failing
        w.key_sets["app", "well"] = SimpleNamespace(age=1.0, failures=0, why="")
        found = w.admin.status().key_sets_failing
        assert len(found) == MAX_KEY_SETS
        assert "well" not in {one.issuer for one in found}


async def test_the_engine_s_time_is_this_node_s_without_the_difference() -> None:
    async with world() as w:
        w.shell.clocks.ahead = 5.0
        await w.shell.node.beat()
        assert w.admin.engine_now() == pytest.approx(w.shell.clock.now_ms(), abs=50)


async def test_a_survey_is_answered_with_the_sessions_that_are_held_here() -> None:
    async with world() as w:
        anna, _ = await w.shell.open()
        listener = NodeListener(w.shell.hub, lost=lambda _: None, directory=lambda _: None, cluster=w.admin.command)
        w.shell.inner.bus.listen(listener)
        answers = await w.admin.survey.ask(["n1"], sockets=True)
        owner = owner_of(anna)
        assert answers["n1"].held == {owner.session_id: owner.generation}
        assert answers["n1"].status == w.admin.status()


async def test_a_drain_of_a_node_that_is_not_there_is_refused() -> None:
    async with world() as w:
        with pytest.raises(NotFoundError, match="There is no node n9"):
            await w.admin.drain("n9", None)
        assert w.shell.commands == []
        assert (await w.admin.drain(None, 12.5)).node == "n1"
        assert w.shell.commands == [DrainCommand(rate="12.5")]


async def test_a_node_whose_lease_is_over_cannot_be_drained() -> None:
    async with world() as w:
        (known,) = w.shell.node.known
        assert known.lease_left > 0
        w.shell.node.known = (NodeRecord(node="n2", boot="b", lease="l2", lease_left=-1.0), known)
        with pytest.raises(NotFoundError):
            await w.admin.drain("n2", None)


@pytest.mark.parametrize(("rate", "expected"), [("", None), ("2.5", 2.5)])
async def test_a_drain_makes_the_node_not_ready_and_asks_for_its_end(rate: str, expected: float | None) -> None:
    async with world() as w:
        w.admin.drain_rate = 7.0
        w.admin.command(DrainCommand(rate=rate))
        assert (w.admin.drain_rate, w.stops) == (expected, 1)
        assert w.shell.node.not_ready() is not None


async def test_a_comparison_that_is_asked_for_is_made() -> None:
    async with world() as w:
        anna, _ = await w.shell.open()
        del w.shell.hub.sessions[owner_of(anna).session_id]
        for _ in range(2):
            w.admin.command(CompareCommand())
            await w.shell.settle()
        assert (await w.shell.record(anna)).state == "detached"
