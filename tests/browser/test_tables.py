"""What the browser SDK is made from the Python side's tables is up to date."""

from __future__ import annotations

import json
import re

from greenroom.codes import ErrorCode, is_retryable_error
from greenroom.core.client.effects import ClientSettings
from greenroom.core.states import CLIENT_TRANSITIONS
from greenroom.errors import CLASS_OF_CODE
from scripts import generate_browser_tables as tables


def _exported(name: str) -> str:
    found = re.search(rf"^export const {name} = (.*?);$", tables.text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_committed_tables_are_those_of_python() -> None:
    assert tables.main(["--check"]) == 0


def test_every_transition_is_there() -> None:
    assert _exported("TRANSITIONS").count(":") == len(CLIENT_TRANSITIONS) + len(
        {state for state, _ in CLIENT_TRANSITIONS}
    )


def test_every_duration_is_there() -> None:
    said = dict(re.findall(r"_(\w+): ([\d.]+)", _exported("SETTINGS")))
    assert len(said) == len(ClientSettings.__dataclass_fields__)
    assert float(said["pingInterval"]) == ClientSettings().ping_interval


def test_every_code_finds_its_class() -> None:
    """The tree's rows, read as errors.js reads them."""
    by_code: dict[int, str] = {}
    for row in json.loads(_exported("ERROR_TREE")).split(" "):
        name, _, *codes = row.split(":")
        by_code.update((-32000 - int(code), name + "Error") for code in codes)
    for code in ErrorCode:
        kind = CLASS_OF_CODE[code]
        if kind in tables.NOT_FOR_SESSIONS:
            continue
        by_band = "ServiceUnavailableError" if is_retryable_error(code) else "ProtocolError"
        assert by_code.get(int(code), by_band) == kind.__name__, code
