"""A run against any Greenroom: which scenarios, how much of each, for how long at most."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import resource
import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from greenroom.bench.churn import churn
from greenroom.bench.client import Quiet, Target, Watcher, abandon
from greenroom.bench.fanout import fanout
from greenroom.bench.figures import Measurement
from greenroom.bench.minting import mint
from greenroom.bench.reconnect import reconnect
from greenroom.bench.report import Report
from greenroom.bench.rooms import join_and_leave
from greenroom.bench.scenarios import echo, idle, storm

SPARE_FILES = 64
"""Descriptors that the generator needs beside its connections."""
MOST_CLIENTS = 60_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done. Times in seconds.

    clients: participants, and connections at the same time at most. opens: of the storm. in_flight: opens under way.
    ramp: over which the storm grows to its width. seconds: of quiet, echo and churn. limit: of the whole run.
    """

    scenarios: tuple[str, ...]
    clients: int = 500
    opens: int = 2_000
    in_flight: int = 64
    ramp: float = 0.0
    seconds: float = 10.0
    updates: int = 10
    limit: float = 300.0


class PlanError(Exception):
    """A plan that this machine cannot carry out. The text says what to change."""


ECHOES_A_SECOND = 20.0
"""On each connection: the service takes 50 messages a second of one."""
JOINS_EACH = 4
"""The service takes 30 joins a minute of one participant, 160 at once."""


def _storm(target: Target, plan: Plan) -> Awaitable[Measurement]:
    return storm(target, count=plan.opens, width=min(plan.in_flight, plan.clients))


def _echo(target: Target, plan: Plan) -> Awaitable[Measurement]:
    each = int(plan.seconds * ECHOES_A_SECOND)
    return echo(target, connections=plan.clients, count=each * plan.clients, pause=1 / ECHOES_A_SECOND)


def _idle(target: Target, plan: Plan) -> Awaitable[Measurement]:
    return idle(target, count=plan.clients, seconds=plan.seconds, width=plan.in_flight)


def _fanout(target: Target, plan: Plan) -> Awaitable[Measurement]:
    return fanout(target, watchers=plan.clients - 1, updates=plan.updates)


def _reconnect(target: Target, plan: Plan) -> Awaitable[Measurement]:
    return reconnect(target, count=plan.clients)


def _churn(target: Target, plan: Plan) -> Awaitable[Measurement]:
    watchers = min(100, plan.clients // 2)
    crowd = min(200, plan.clients - watchers)
    return churn(target, watchers=watchers, crowd=crowd, per_second=min(100.0, crowd / 2), seconds=plan.seconds)


def _rooms(target: Target, plan: Plan) -> Awaitable[Measurement]:
    rooms = max(1, plan.clients // 4)
    sessions = plan.clients - rooms
    width = min(plan.in_flight, sessions)
    return join_and_leave(target, count=JOINS_EACH * sessions, rooms=rooms, sessions=sessions, width=width)


SCENARIOS: dict[str, Callable[[Target, Plan], Awaitable[Measurement]]] = {
    "storm": _storm,
    "echo": _echo,
    "idle": _idle,
    "fanout": _fanout,
    "reconnect": _reconnect,
    "churn": _churn,
    "rooms": _rooms,
}


def check(plan: Plan) -> None:
    """Makes room for the connections. Raises PlanError."""
    unknown = [name for name in plan.scenarios if name not in SCENARIOS]
    if unknown:
        raise PlanError(f"There is no scenario {unknown[0]!r}. There are: {', '.join(SCENARIOS)}.")
    if not 2 <= plan.clients <= MOST_CLIENTS:
        raise PlanError(f"clients must be 2 to {MOST_CLIENTS:,}.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = plan.clients + SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise PlanError(f"{plan.clients:,} clients need {wanted:,} open files, and the limit is {hard:,} (ulimit -Hn).")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def is_loopback(url: str) -> bool:
    """Whether the target is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def carry_out(plan: Plan, *, url: str, key: str, secret: str, watcher: Watcher | None = None) -> Report:
    """Mint tokens, run the scenarios one after the other. What is done when the limit comes is kept."""
    watcher = watcher or Quiet()
    split = urlsplit(url)
    secure = split.scheme == "https"
    needed = max(plan.clients, plan.opens if "storm" in plan.scenarios else 0)
    run = os.urandom(4).hex()
    external_ids = [f"bench-{run}-{number}" for number in range(needed)]
    report = Report(
        target=url,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        generator=_generator(),
        findings=[],
    )
    target: Target | None = None
    try:
        async with asyncio.timeout(plan.limit):
            watcher.stage("tokens", needed)
            tokens = await mint(url, key, secret, external_ids, on_minted=watcher.done)
            target = Target(
                split.hostname or "",
                split.port or (443 if secure else 80),
                tokens,
                external_ids,
                watcher=watcher,
                tls=ssl.create_default_context() if secure else None,
                ramp=plan.ramp,
            )
            for name in plan.scenarios:
                report.findings.append(await SCENARIOS[name](target, plan))
    except TimeoutError:
        report.stopped = f"the limit of {plan.limit:g} s"
    finally:
        if target is not None:
            await abandon(target)
    return report


def _generator() -> dict[str, str]:
    try:
        own = version("greenroom")
    except PackageNotFoundError:
        own = "source"
    return {"greenroom": own, "Python": platform.python_version(), "cores": str(len(os.sched_getaffinity(0)))}
