"""What every test stands on: async tests run in a watched loop of their own, and nothing skips silently.

There are no async fixtures: use an async context manager in the test, so that its end is part of the test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from scripts.run_tests import has_mark
from tests.support.async_runner import is_async_test, run_async_test
from tests.support.skips import forbidden_skips

pytest_plugins = ["pytester"]

# A service that runs inside a test logs where pytest collects it: unconfigured, structlog prints to standard output,
# which tests of the command line read.
structlog.configure(
    processors=[structlog.stdlib.add_log_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)

# No deadlines: how long an example takes says more about the machine than about the code. The blob printed with a
# failure repeats it anywhere.
settings.register_profile("greenroom", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("greenroom")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forbid-skips",
        action="store_true",
        help="fail if a test was skipped for a reason that is not on the list in tests/support/skips.py",
    )
    parser.addoption(
        "--eager-tasks",
        action="store_true",
        help="async tests run with asyncio.eager_task_factory (Python 3.12 and later)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked soak run only where they are asked for (`-m soak`): `make soak` does. A mark that has a pass of its
    own must stand in the file of its test, where `make test` looks for it."""
    for mark in ("waiting", "serial"):
        for path in {item.path for item in items if item.get_closest_marker(mark) is not None}:
            if not has_mark(path, mark):
                raise pytest.UsageError(f"{path}: has tests marked {mark}, and not the text pytest.mark.{mark}")
    if "soak" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("soak") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]


def _wrap_inner_test(function: Any, **loop: bool) -> None:
    """Let Hypothesis, which calls the inner test itself, run an `async def` one."""
    inner: Callable[..., Any] = function.hypothesis.inner_test
    if not is_async_test(inner):
        return

    @functools.wraps(inner)
    def run(**arguments: Any) -> None:
        run_async_test(inner, arguments, **loop)

    # functools.wraps leaves a trace by which the wrapper would pass for the coroutine function it wraps
    del run.__dict__["__wrapped__"]
    function.hypothesis.inner_test = run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in a fresh event loop; leave every other test to pytest."""
    loop = {
        "uvloop": pyfuncitem.get_closest_marker("uvloop") is not None,
        "eager": pyfuncitem.config.getoption("--eager-tasks"),
    }
    function = pyfuncitem.obj
    if hasattr(function, "hypothesis"):
        _wrap_inner_test(function, **loop)
        return None
    if not is_async_test(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    run_async_test(function, {name: pyfuncitem.funcargs[name] for name in names}, **loop)
    return True


def _unexpected_skips(config: pytest.Config) -> list[str]:
    if not config.getoption("--forbid-skips") or hasattr(config, "workerinput"):
        return []
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter is not None else []
    # longrepr of a skip is (file, line, "Skipped: reason")
    return forbidden_skips((report.nodeid, report.longrepr[2]) for report in reports)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _unexpected_skips(session.config) and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None, None, None]:
    yield
    skips = _unexpected_skips(config)
    if skips:
        terminalreporter.section("skipped without leave: this fails the run", red=True)
        for line in skips:
            terminalreporter.line(line)
