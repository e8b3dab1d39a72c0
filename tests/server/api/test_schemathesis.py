"""schemathesis, from the service's own /openapi.json: no 5xx, no undocumented status, no answer beside its schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.harness import running_service
from tests.server.http_service import basic
from tests.support.schemathesis import ALL_PHASES, CHECKS, schemathesis

pytestmark = pytest.mark.slow

SEED = 20_260_101
SHORT, LONG = 4, 25
"""Random cases of each operation, beside those that cover its schema: in `make test` and in `make soak`."""

EVERY_CHECK = (*CHECKS, "negative_data_rejection", "unsupported_method")
# What is too long for its schema may be too long for a request head too.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 431]
"""


# Events are waited for by design (up to 60 s is within the schema); drain does what it says.
LEFT_OUT = ("--exclude-path", "/v1/events", "--exclude-path", "/admin/v1/drain")

# Who calls what with the credentials that it asks for; everybody else's are tried where nobody has any.
PATHS = {
    "nobody": "^/",
    "backend": "^/v(1/(?!auth|oauth2)|2)",
    "application": "^/v1/(auth|oauth2)",
    "operator": "^/admin",
}


@pytest.mark.parametrize(
    ("who", "phases", "cases"),
    [
        ("backend", "coverage", SHORT),  # random ones: tests/fuzz/test_schemathesis.py
        ("application", ALL_PHASES, SHORT),
        ("operator", ALL_PHASES, SHORT),
        # Nobody too, whom `tests/server/http/test_authentication.py` refuses.
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
        await schemathesis(
            running, tmp_path, "--include-path-regex", PATHS[who], *LEFT_OUT, phases=phases, cases=cases, seed=SEED,
            authorization=credentials[who], checks=EVERY_CHECK, config=CONFIG,
        )  # fmt: skip
        async with running.http.get(f"{running.url}/readyz") as reply:
            assert reply.status == 200
