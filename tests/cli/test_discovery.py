"""Where the service and secrets are found when no option names them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from greenroom.cli.discovery import DEFAULT_URL, find_admin_token, find_url
from greenroom.cli.exits import CliError, Exit
from tests.cli.running import run_here


def test_the_url_is_the_option_else_the_running_service_s_else_the_default(tmp_path: Path) -> None:
    assert find_url(None, tmp_path) == DEFAULT_URL
    note = tmp_path / "service.json"
    note.write_text(json.dumps({"url": "http://127.0.0.1:4711", "pid": os.getpid()}))
    assert find_url(None, tmp_path) == "http://127.0.0.1:4711"
    assert find_url("https://x.example/", tmp_path) == "https://x.example"
    # A service that is gone has left its note. No process has a number above 2^22 (Linux, PID_MAX_LIMIT).
    note.write_text(json.dumps({"url": "http://127.0.0.1:4711", "pid": 2**22 + 1}))
    assert find_url(None, tmp_path) == DEFAULT_URL
    note.write_text("{")
    assert find_url(None, tmp_path) == DEFAULT_URL


def test_without_an_admin_token_the_error_says_where_it_is_looked_for(tmp_path: Path) -> None:
    ran = run_here("apps", "list", "--data", str(tmp_path))
    assert ran.code == Exit.CREDENTIALS
    assert "GREENROOM_ADMIN_TOKEN" in ran.err
    assert "--data" in ran.err


def test_secrets_of_the_command_line_may_be_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service's: one container runs both."""
    secret = tmp_path / "secret"
    secret.write_text("an-admin-token-of-mine\n")
    monkeypatch.setenv("GREENROOM_ADMIN_TOKEN_FILE", f"{secret}\n")
    assert find_admin_token(None, None) == "an-admin-token-of-mine"
    assert find_admin_token("another", None) == "another"
    missing = {"GREENROOM_APP_SECRET_FILE": str(tmp_path / "none")}
    ran = run_here("token", "api", "--key", "k", "--url", "http://127.0.0.1:1", **missing)
    assert (ran.code, ran.err.count("\n")) == (Exit.USAGE, 1)
    assert "GREENROOM_APP_SECRET_FILE names" in ran.err
    found = {"GREENROOM_APP_SECRET_FILE": str(secret)}
    ran = run_here("token", "api", "--key", "k", "--url", "http://127.0.0.1:1", **found)
    assert ran.code == Exit.UNREACHABLE, "there is a secret, and nobody to ask"


def test_the_admin_token_is_the_option_else_the_file_of_the_data_directory(tmp_path: Path) -> None:
    assert find_admin_token(None, tmp_path) is None
    file = tmp_path / "admin-token"
    file.write_text("of-the-file\n")
    assert find_admin_token(None, tmp_path) == "of-the-file"
    assert find_admin_token(" of-the-option ", tmp_path) == "of-the-option"
    file.write_bytes(b"\xff")
    with pytest.raises(CliError, match="is not UTF-8 text") as refused:
        find_admin_token(None, tmp_path)
    assert refused.value.exit is Exit.USAGE
