"""What ``greenroom serve`` says when it is ready."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from greenroom.cli.discovery import DEFAULT_DATA
from greenroom.cli.welcome import Demo, show_ready
from tests.cli.running import ROOT
from tests.server.harness import running_service
from tests.support.patience import PATIENCE

DEMO = Demo("the-key", "the-secret", "the.long.token", "demo")


def test_without_a_demo_it_says_where_it_is_and_how_to_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_ready("http://127.0.0.1:4711", DEFAULT_DATA, None)
    assert capsys.readouterr().out == "\nGreenroom is ready at http://127.0.0.1:4711\n\nCtrl-C stops the service.\n\n"


def test_the_demo_is_all_that_one_needs_to_begin(capsys: pytest.CaptureFixture[str]) -> None:
    show_ready("http://127.0.0.1:4711", DEFAULT_DATA, DEMO)
    lines = capsys.readouterr().out.splitlines()
    assert "  App key     the-key" in lines
    assert "  App secret  the-secret  (kept in the data directory)" in lines
    assert "the.long.token" in lines, "alone on its line, so that a double click takes it"
    assert "  Lobby       http://127.0.0.1:4711/lobby/  (open it in two tabs)" in lines
    assert [line for line in lines if line.endswith("open --key the-key --secret the-secret --external-id anna")]


def test_another_data_directory_is_named_in_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_ready("http://127.0.0.1:4711", tmp_path, DEMO)
    assert f"--external-id anna --data {tmp_path}\n" in capsys.readouterr().out


@pytest.mark.slow
async def test_the_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        show_ready(running.url, DEFAULT_DATA, Demo(tenant.key, tenant.secret, "t", "demo"))
        said = capsys.readouterr().out
        snippet = said[said.index("import asyncio") : said.index("asyncio.run(main())")] + "asyncio.run(main())\n"
        pipe = asyncio.subprocess.PIPE
        user = await asyncio.create_subprocess_exec(
            sys.executable, "-c", snippet, stdout=pipe, stderr=pipe, env={"PYTHONPATH": str(ROOT / "src")}
        )
        out, err = await asyncio.wait_for(user.communicate(), PATIENCE)
    assert user.returncode == 0, err.decode()
    assert out.decode() == "open as Anna revision 1\nnow I am Anna B. revision 2\n"
