"""Runs scripts of browser/e2e in Node."""

from __future__ import annotations

import asyncio
import fcntl
import json
from pathlib import Path
from typing import Any

from scripts.run_tests import install_node_packages

ROOT = Path(__file__).resolve().parents[2]
BROWSER = ROOT / "browser"
LIMIT = 240.0
"""Seconds for one script."""


async def output_of(*command: str | Path) -> str:
    """What a command prints, run in browser/. Raises AssertionError with what it printed where it failed."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=BROWSER, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode(errors="replace")
    assert process.returncode == 0, text
    return text


def _install(npm: Path) -> bool:
    """Tests in several processes wait for one another."""
    with (BROWSER / "package.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return install_node_packages(BROWSER, npm)


async def node_program() -> Path:
    """Node, with the packages of browser/ installed."""
    folder = Path((await output_of(ROOT / "scripts" / "node", "--bin-dir")).strip().splitlines()[-1])
    assert await asyncio.to_thread(_install, folder / "npm")
    return folder / "node"


async def node(script: str, argument: dict[str, Any], *flags: str) -> str:
    """What e2e/<script> prints."""
    return await output_of(await node_program(), *flags, f"e2e/{script}", json.dumps(argument))
