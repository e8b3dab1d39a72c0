"""`import greenroom`: what it brings, and what it does not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import greenroom

_SERVICE = {
    "picows", "uvloop", "joserfc", "cryptography", "apsw", "prometheus_client", "structlog", "typer", "rich",
    "standardwebhooks", "redis", "hiredis", "opentelemetry",
}  # fmt: skip


def _modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] if not name.startswith("greenroom") else name for name in done.stdout.split()}


def test_import_loads_neither_aiohttp_nor_anything_of_the_service() -> None:
    loaded = _modules_after("import greenroom")
    assert not loaded & ({"aiohttp", "asyncio", "msgspec"} | _SERVICE)


def test_making_an_sdk_loads_no_aiohttp_and_nothing_of_the_service() -> None:
    code = (
        "import greenroom; sdk = greenroom.Greenroom('http://h'); sdk.initialize('k', 's'); import greenroom.blocking"
    )
    loaded = _modules_after(code)
    assert "greenroom.sdk.client" in loaded
    assert not loaded & ({"aiohttp"} | _SERVICE)
    assert not [name for name in loaded if name.startswith(("greenroom.server", "greenroom.engines", "greenroom.cli"))]


def test_all_names_are_there_and_none_else() -> None:
    for name in greenroom.__all__:
        assert getattr(greenroom, name).__name__.removeprefix("greenroom.") == name
    assert sorted(greenroom.__all__) == greenroom.__all__
    tree = ast.parse(Path(greenroom.__file__).read_text())
    (checking,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for node in checking.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert imported == set(greenroom.__all__)


def test_every_public_name_is_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/python-sdk.md").read_text()
    missing = [name for name in greenroom.__all__ if f"`{name}" not in page]
    assert not missing
