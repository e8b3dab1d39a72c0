"""/openapi.json is what other languages' clients are generated from: two generators run over it, and what they make
compiles."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.openapi import document
from scripts.dist import environment, locked
from tests.browser.node import BROWSER, node_program, output_of

NAMES = ("ParticipantView", "NodeView", "AnsweringNode", "ClientAccessTokenRequest", "RefreshableTokenReply")


@pytest.fixture
def description(tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    path.write_bytes(msgspec.json.encode(document(API_ROUTES, version="1")))
    return path


def test_every_schema_and_operation_has_a_short_name_of_its_own() -> None:
    made = document(API_ROUTES, version="1")
    assert all(name.isidentifier() for name in made["components"]["schemas"]), "two types of one name"
    operations = [one["operationId"] for path in made["paths"].values() for one in path.values()]
    assert len(set(operations)) == len(operations)
    assert set(NAMES) <= set(made["components"]["schemas"])


@pytest.mark.slow
def test_openapi_python_client_makes_a_package_that_imports(description: Path, tmp_path: Path) -> None:
    programs = environment(tmp_path / "tools", *locked("openapi"))
    made = tmp_path / "made"
    printed = _run(
        str(programs / "openapi-python-client"), "generate", "--path", str(description), "--meta", "none",
        "--output-path", str(made / "client"),
    )  # fmt: skip
    # Without ruff it formats nothing, which is all that it may miss.
    assert "WARNING parsing" not in printed
    assert "was not generated" not in printed
    names = ", ".join(NAMES)
    script = "import compileall, sys; sys.exit(not compileall.compile_dir('client', quiet=1))\n"
    _run(str(programs / "python"), "-c", script, folder=made)
    _run(str(programs / "python"), "-W", "error", "-c", f"from client.models import {names}", folder=made)


@pytest.mark.slow
async def test_openapi_typescript_makes_types_that_compile(description: Path, tmp_path: Path) -> None:
    node = await node_program()
    modules = BROWSER / "node_modules"
    made = tmp_path / "api.ts"
    await output_of(node, modules / "openapi-typescript" / "bin" / "cli.js", description, "--output", made)
    uses = "\n".join(f'export type {name} = components["schemas"]["{name}"];' for name in NAMES)
    program = tmp_path / "uses.ts"
    program.write_text(f'import type {{ components }} from "./api";\n{uses}\n')
    options = {"strict": True, "noEmit": True, "target": "es2022", "types": []}
    config = tmp_path / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": options, "files": [program.name]}))
    await output_of(node, modules / "typescript" / "bin" / "tsc", "--project", config)


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
