"""The programs of the README and of the first tutorial run as they stand, against a real service."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.server.harness import running_service

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _programs(page: str) -> list[str]:
    return [code for code in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if "asyncio.run" in code]


async def _run(code: str, *arguments: str, seconds: float = 60.0) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), seconds)
    return process.returncode, out.decode()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/first-session.md"])
async def test_the_first_program_opens_updates_and_closes(page: str) -> None:
    async with running_service() as house:
        app = await house.new_application()
        code = _programs(page)[0].replace("http://127.0.0.1:7465", house.service.url)
        code = code.replace("APP KEY", app.key).replace("APP SECRET", app.secret)
        status, out = await _run(code)
        assert status == 0, out
        assert "Anna B." in out
        first, second = (int(number) for number in re.findall(r"(\d+)$", out, re.MULTILINE)[:2])
        assert second == first + 1


def test_every_page_that_is_linked_exists() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    missing = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not missing, missing
