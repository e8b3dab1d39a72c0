"""The tutorial on rooms: its program runs, with a browser beside it, and the page prints it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.chromium import chromium
from tests.examples.test_lobby import backend
from tests.server.harness import running_service
from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "call" / "member.py"
TUTORIAL = ROOT / "docs" / "tutorials" / "rooms.md"

pytestmark = [pytest.mark.slow, pytest.mark.waiting]


def test_the_tutorial_prints_the_program() -> None:
    (printed,) = re.findall(r'^```python title="member.py"\n(.*?)^```', TUTORIAL.read_text("utf-8"), re.M | re.S)
    assert printed == PROGRAM.read_text("utf-8")


class Terminal:
    """The program as someone sees it who types."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, line: str, seconds: float = PATIENCE) -> None:
        """Reads until the line is printed."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while line not in self.lines:
                read = await self.process.stdout.readline()
                assert read, self.lines
                self.lines.append(read.decode().rstrip("\n"))

    async def type(self, line: str) -> None:
        """A line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()


@contextlib.asynccontextmanager
async def terminal(url: str, person: str) -> AsyncIterator[Terminal]:
    """The program as a process."""
    settings = {"BACKEND": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), person, env={**os.environ, **settings}, stdin=pipe, stdout=pipe
    )
    try:
        yield Terminal(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_tab_and_programs_in_one_room_talk_die_and_are_invited() -> None:
    async with running_service(grace=10.0, ping_interval=3.2, pong_timeout=3.0) as running, chromium() as browser:
        tenant = await running.new_application()
        async with backend(running, tenant) as url, terminal(url, "chloe") as chloe:
            await chloe.until("here: Chloe")
            tab = await browser.open(f"{url}/?anna")
            await chloe.until("+ Anna")
            await tab.until("document.getElementById('count').textContent === '2'")
            await tab.evaluate("document.getElementById('wave').click()")
            await chloe.until("Anna: {'wave': True}")
            async with terminal(url, "ben") as ben:
                await ben.until("here: Anna, Ben, Chloe")
                await chloe.until("+ Ben")
                await ben.type("Hello")
                await chloe.until("Ben: Hello")
                ben.process.send_signal(signal.SIGSTOP)
                await chloe.until("  Ben is unreachable")
                ben.process.send_signal(signal.SIGCONT)
                await chloe.until("  Ben is online")
                assert "- Ben" not in " ".join(chloe.lines)
                chloe.lines.clear()
                ben.process.kill()
            await chloe.until("  Ben is unreachable")
            await chloe.until("- Ben (timeout)")  # the grace of this service is short
            await chloe.type("/invite ben")
            async with terminal(url, "ben") as ben:
                await ben.until("Chloe invites you to lobby: Come in!")
                await chloe.until("+ Ben")  # or coming and going might be one change, which says nothing
                await ben.type("/leave")
                assert await ben.process.wait() == 0
            await chloe.until("- Ben (left)")
