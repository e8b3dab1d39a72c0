"""schemathesis, from the service's own /openapi.json: no 5xx, no undocumented status, no answer beside its schema."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.server.harness import RunningService, running_service
from tests.server.http_service import basic

pytestmark = pytest.mark.slow

SEED = 20_260_101
SHORT, LONG = 4, 25
"""Random cases of each operation, beside those that cover its schema: in `make test` and in `make soak`."""

# Not: that whatever fits the schema is accepted. A token that is none, or an unknown cursor, fits, and is refused.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


# What is too long for its schema may be too long for a request head too.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431]
"""


async def schemathesis(
    running: RunningService, folder: Path, paths: str, authorization: str | None, phases: str, cases: int
) -> None:
    """Runs these phases of it against the paths that match. Raises AssertionError with what it says."""
    command = [str(Path(sys.executable).with_name("st")), "run", f"{running.url}/openapi.json", "--no-color"]
    command += ["--phases", phases, "-n", str(cases), "--seed", str(SEED), "--checks", ",".join(CHECKS)]
    # Events are waited for by design (up to 60 s is within the schema); drain does what it says.
    command += [
        "--include-path-regex",
        paths,
        "--exclude-path",
        "/v1/events",
        "--exclude-path",
        "/admin/v1/drain",
        "--generation-database",
        "none",
    ]
    (folder / "schemathesis.toml").write_text(CONFIG)
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


# Who calls what with the credentials that it asks for; everybody else's are tried where nobody has any.
PATHS = {
    "nobody": "^/",
    "backend": "^/v(1/(?!auth|oauth2)|2)",
    "application": "^/v1/(auth|oauth2)",
    "operator": "^/admin",
}


ALL_PHASES = "coverage,fuzzing"


@pytest.mark.parametrize(
    ("who", "phases", "cases"),
    [
        # Each answer is the same 401: random requests show it, and whatever covers a schema is for `make soak`.
        ("nobody", "fuzzing", SHORT),
        ("backend", "coverage", SHORT),  # random ones: tests/fuzz/test_schemathesis.py
        ("application", ALL_PHASES, SHORT),
        ("operator", ALL_PHASES, SHORT),
        *(pytest.param(who, ALL_PHASES, LONG, marks=pytest.mark.soak) for who in PATHS),
    ],
)
async def test_the_api(who: str, phases: str, cases: int, tmp_path: Path) -> None:
    async with running_service(failed_auth_per_minute=1_000_000) as running:
        app = await running.new_application()
        form = {"grant_type": "client_credentials"}
        own = basic(app.key, app.secret)
        async with running.http.post(
            f"{running.url}/v1/auth/token", data=form, headers={"Authorization": own}
        ) as reply:
            token = (await reply.json())["access_token"]
        credentials = {
            "nobody": None,
            "backend": f"Bearer {token}",
            "application": own,
            "operator": f"Bearer {running.service.admin_token}",
        }
        await schemathesis(running, tmp_path, PATHS[who], credentials[who], phases, cases)
        async with running.http.get(f"{running.url}/readyz") as reply:
            assert reply.status == 200
