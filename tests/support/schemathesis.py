"""schemathesis, from a service's own /openapi.json, as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.server.harness import RunningService

ALL_PHASES = "coverage,fuzzing"
# Not: that whatever fits the schema is accepted. A token that is none, or an unknown cursor, fits, and is refused.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


async def schemathesis(
    running: RunningService,
    folder: Path,
    *options: str,
    phases: str,
    cases: int,
    seed: int,
    authorization: str | None = None,
    checks: Sequence[str] = CHECKS,
    config: str = "",
) -> None:
    """Runs these phases of it, with so many random cases of each operation. Raises AssertionError with what it says."""
    (folder / "schemathesis.toml").write_text(config)
    command = [str(Path(sys.executable).with_name("st")), "run", f"{running.url}/openapi.json", "--no-color"]
    command += ["--phases", phases, "-n", str(cases), "--seed", str(seed), "--checks", ",".join(checks)]
    command += ["--generation-database", "none", *options]
    if authorization is not None:
        command += ["-H", f"Authorization: {authorization}"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=asyncio.subprocess.STDOUT, cwd=folder, env={"PATH": os.environ["PATH"]}
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 500)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, out.decode()
