"""A run: which scenarios, how much of each, for how long at most."""

from __future__ import annotations

import resource

import pytest

from greenroom.bench.plan import MOST_CLIENTS, SCENARIOS, Plan, PlanError, carry_out, check, is_loopback
from tests.bench.target import Progress
from tests.server.harness import running_service


def test_a_plan_that_can_be_carried_out() -> None:
    check(Plan(scenarios=tuple(SCENARIOS), clients=2))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == resource.RLIM_INFINITY or soft >= 66


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            Plan(scenarios=("echo", "flood")),
            "There is no scenario 'flood'. There are: storm, echo, idle, fanout, reconnect, churn, rooms.",
        ),
        (Plan(scenarios=("echo",), clients=1), "clients must be 2 to 60,000."),
        (Plan(scenarios=("echo",), clients=MOST_CLIENTS + 1), "clients must be 2 to 60,000."),
    ],
)
def test_a_plan_that_cannot(plan: Plan, said: str) -> None:
    with pytest.raises(PlanError) as refused:
        check(plan)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("url", "is_here"),
    [
        ("http://127.0.0.1:7465", True),
        ("http://localhost", True),
        ("https://[::1]:7465", True),
        ("http://127.9.9.9", True),
        ("http://10.0.0.5", False),
        ("https://greenroom.example", False),
        ("nonsense", False),
    ],
)
def test_what_is_this_machine(url: str, is_here: bool) -> None:
    assert is_loopback(url) is is_here


async def test_scenarios_run_one_after_the_other() -> None:
    watcher = Progress()
    plan = Plan(scenarios=("storm", "echo"), clients=3, opens=5, in_flight=2, seconds=0.1)
    async with running_service(opens_per_second=100_000.0) as running:
        app = await running.new_application()
        report = await carry_out(plan, url=running.url, key=app.key, secret=app.secret, watcher=watcher)
    assert (report.target, report.stopped) == (running.url, "")
    assert [(one.scenario, one.operations, one.errors) for one in report.findings] == [
        ("storm", 5, {}),
        ("echo", 6, {}),
    ]
    assert watcher.stages[:2] == [("tokens", 5), ("storm", 5)]
    assert report.generator.keys() == {"greenroom", "Python", "cores"}


class LateProgress(Progress):
    """The limit comes when a stage begins."""

    def stage(self, name: str, total: int) -> None:
        if name == "idle: wait":
            raise TimeoutError
        super().stage(name, total)


async def test_what_was_done_when_the_limit_comes_is_kept() -> None:
    plan = Plan(scenarios=("storm", "idle", "echo"), clients=2, opens=1, limit=600)
    async with running_service() as running:
        app = await running.new_application()
        report = await carry_out(plan, url=running.url, key=app.key, secret=app.secret, watcher=LateProgress())
        assert report.stopped == "the limit of 600 s"
        assert [one.scenario for one in report.findings] == ["storm"]


@pytest.mark.slow
async def test_the_limit_of_time_ends_a_run() -> None:
    plan = Plan(scenarios=("idle",), clients=2, seconds=600, limit=1)
    async with running_service() as running:
        app = await running.new_application()
        report = await carry_out(plan, url=running.url, key=app.key, secret=app.secret)
    assert (report.stopped, report.findings) == ("the limit of 1 s", [])
