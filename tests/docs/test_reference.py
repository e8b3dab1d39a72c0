"""What is undocumented is private: every public name, number, setting, route, verb and metric is in the reference."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer.main

import greenroom
import greenroom.backend
from greenroom.cli import make_app
from greenroom.codes import CloseCode, ErrorCode
from greenroom.core.client import retry_policy
from greenroom.messages import METHODS
from greenroom.model import EndReason
from greenroom.server.api.routes import API_ROUTES
from greenroom.server.config import PREFIX, ServerConfig
from greenroom.server.events.views import EVENT_TYPES
from greenroom.server.telemetry.metrics_table import FOREIGN, TABLE
from scripts.docs.python_api import INTERNAL

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
DECISIONS = DOCS / "explanation" / "decisions.md"
DECLARATIONS = ROOT / "browser" / "src" / "index.d.ts"

PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
SERVICES = ("Greenroom", "SessionService", "SessionDelegate", "ParticipantsService", "Watch")


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def _code(page: str) -> str:
    """What stands in code on the page, one piece a line: prose that happens to hold a word documents nothing."""
    blocks = re.findall(r"^ *```.*?^ *```", page, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", rest)])


def _missing(names: Iterable[str], text: str) -> list[str]:
    return [name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)]


def _members(name: str) -> Iterator[str]:
    """Public methods and attributes that the class itself has."""
    owner = getattr(greenroom, name)
    members = {member for member in [*vars(owner), *inspect.get_annotations(owner)] if not member.startswith("_")}
    internal = set(INTERNAL.get(name, ()))
    assert internal <= members, "no longer there: take it off the list"
    yield from members - internal


def test_every_name_of_the_python_sdk() -> None:
    assert not _missing(greenroom.__all__, _code(_page("python-sdk.md")))


def test_every_name_of_the_python_api_has_its_docstring_on_the_page() -> None:
    page = _page("python-api.md")
    shown = re.findall(r"^::: greenroom\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(set(greenroom.__all__) - {"blocking"})
    for_backends = re.findall(r"^::: greenroom\.backend\.(\w+)$", page, re.MULTILINE)
    assert sorted(for_backends) == sorted(greenroom.backend.__all__)


@pytest.mark.parametrize("owner", SERVICES)
def test_every_method_of_the_python_sdk(owner: str) -> None:
    text = _code(_page("python-sdk.md")).replace("await ", "")
    assert not _missing(_members(owner), text)


@pytest.mark.parametrize("model", ["Participant", "ParticipantInfo", "Device"])
def test_every_field_of_the_models(model: str) -> None:
    fields: tuple[str, ...] = getattr(greenroom, model).__struct_fields__
    assert not _missing(fields, _code(_page("python-sdk.md")))


def test_every_export_of_the_browser_sdk() -> None:
    exported = re.findall(
        r"^export (?:declare )?(?:abstract )?(?:class|interface|type|const|function|enum) (\w+)",
        DECLARATIONS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(exported) > 15
    assert not _missing(exported, _code(_page("browser-sdk.md")))


def test_every_member_of_the_browser_sdk() -> None:
    declared = DECLARATIONS.read_text(encoding="utf-8")
    members = set()
    for body in re.findall(r"^export (?:declare class|interface) .*?\{\n(.*?)^\}", declared, re.MULTILINE | re.DOTALL):
        members |= set(re.findall(r"^  (?:readonly )?(\w+)\??[:(]", body, re.MULTILINE))
    members -= {"constructor", "next", "return"}  # those of every class and of every async iterator
    assert len(members) > 40
    assert not _missing(sorted(members), _code(_page("browser-sdk.md")).replace("sdk.", "").replace("session.", ""))


def test_every_code_with_its_number() -> None:
    page = _page("codes.md")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert not [code.name for code in (*ErrorCode, *CloseCode) if str(int(code)) not in rows]


def test_every_setting_with_its_variable() -> None:
    code = _code(_page("settings.md"))
    fields = ServerConfig.__struct_fields__
    assert not _missing(fields, code)
    assert not _missing([PREFIX + field.upper() for field in fields], code)


def test_every_route() -> None:
    page = _page("http.md")
    routes = [(route.method, route.path) for route in API_ROUTES]
    assert len(routes) > 30
    assert not [f"{method} {path}" for method, path in routes if f"{method} {path}" not in page]


def _verbs() -> Iterator[str]:
    def walk(prefix: str, command: object) -> Iterator[str]:
        for name, child in getattr(command, "commands", {}).items():
            if hasattr(child, "commands"):
                yield from walk(f"{prefix} {name}", child)
            else:
                yield f"{prefix} {name}"

    return walk("greenroom", typer.main.get_command(make_app()))


def test_every_verb_of_the_command_line() -> None:
    titles = {line.removeprefix("## ").strip() for line in _page("cli.md").splitlines() if line.startswith("## ")}
    assert not sorted(set(_verbs()) - titles)


def test_every_method_of_the_session_protocol() -> None:
    assert not _missing(METHODS, _code(_page("wire.md")))


def test_every_metric() -> None:
    assert not _missing([row.name for row in TABLE] + list(FOREIGN), _code(_page("metrics.md")))


def test_every_event() -> None:
    assert not _missing(EVENT_TYPES, _code(_page("events.md")))


def test_every_reason_of_an_end() -> None:
    reasons = {*EndReason, *retry_policy.REASON_OF_CODE.values(), retry_policy.LOOP_ENDED}
    page = (DOCS / "how-to" / "troubleshoot.md").read_text(encoding="utf-8")
    table = page.split("### SessionEndedError, session.ended\n")[1].split("\n###")[0]
    assert not _missing(reasons, _code("\n".join(re.findall(r"^\|(.*?)\|", table, re.MULTILINE))))


def test_every_how_to_and_tutorial_has_one_title_and_says_something() -> None:
    for name in PAGES:
        text = (DOCS / name).read_text(encoding="utf-8")
        outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
        assert len(re.findall(r"^# ", outside, re.MULTILINE)) == 1, name
        assert len(outside) > 500, name


def test_every_decision_is_a_record() -> None:
    records = re.split(r"^### ", DECISIONS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(records) > 15
    for record in records:
        title, _, body = record.partition("\n")
        assert re.findall(r"^\*\*(\w+)\.\*\*", body, re.MULTILINE) == ["Context", "Decision", "Cost"], title
