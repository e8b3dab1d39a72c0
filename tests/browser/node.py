"""Runs scripts of browser/e2e in Node."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from scripts.run_tests import install_node_packages

ROOT = Path(__file__).resolve().parents[2]
BROWSER = ROOT / "browser"
LIMIT = 60.0
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


async def node(script: str, argument: dict[str, Any], *flags: str) -> str:
    """What e2e/<script> prints."""
    folder = Path((await output_of(ROOT / "scripts" / "node", "--bin-dir")).strip().splitlines()[-1])
    if not (BROWSER / "node_modules").exists():
        assert await asyncio.to_thread(install_node_packages, BROWSER, folder / "npm")
    return await output_of(folder / "node", *flags, f"e2e/{script}", json.dumps(argument))
