"""Options that several verbs share, and where their values come from."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from greenroom.cli.backend import ServerApi
from greenroom.cli.exits import CliError
from greenroom.cli.options import duration, with_backend, with_service
from greenroom.cli.service import ServiceClient


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("10s", 10.0), ("1.5h", 5_400.0), ("2d", 172_800.0), (60.0, 60.0)]
)
def test_a_duration_is_seconds(text: str | float, seconds: float) -> None:
    assert duration(help="").parser(text) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "'soon' is not a duration. Write it as 90 (seconds), 10s, 5m, 1.5h or 2d."),
        ("-5", "'-5' is not a duration"),
        ("0.5s", "0.5s is not between 1 and 3600 seconds."),
        ("2h", "2h is not between 1 and 3600 seconds."),
    ],
)
def test_what_is_no_duration_or_out_of_bounds_is_said(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said.replace("(", "\\(").replace(")", "\\)")):
        duration(help="", least=1, most=3_600).parser(text)


def test_a_verb_of_operators_is_given_the_service(tmp_path: Path) -> None:
    given: list[Any] = []

    @with_service
    def verb(
        service: ServiceClient, name: Annotated[str, typer.Argument()], json: Annotated[bool, typer.Option()] = False
    ) -> None:
        """What it does."""
        given.extend((service, name, json))

    found = {one.name: one.default for one in inspect.signature(verb).parameters.values()}
    empty = inspect.Parameter.empty
    assert found == {"name": empty, "json": False, "admin_token": None, "url": None, "data": None}
    assert (verb.__name__, verb.__doc__) == ("verb", "What it does.")
    verb(name="x", json=True, admin_token="t", url="http://127.0.0.1:1/", data=tmp_path)
    service, *others = given
    assert (service.url, service.admin_headers, others) == (
        "http://127.0.0.1:1",
        {"Authorization": "Bearer t"},
        ["x", True],
    )


def test_a_verb_of_an_application_is_given_key_and_secret_or_the_admin_token(tmp_path: Path) -> None:
    given: list[Any] = []

    @with_backend("sessions:read")
    def verb(backend: ServerApi) -> None:
        given.append(backend)

    assert list(inspect.signature(verb).parameters) == ["key", "secret", "app", "admin_token", "url", "data"]
    options = {
        "key": None,
        "secret": None,
        "app": None,
        "admin_token": None,
        "url": "http://127.0.0.1:1",
        "data": tmp_path,
    }
    verb(**options | {"app": "k", "admin_token": "t"})
    assert isinstance(given[0], ServerApi)
    with pytest.raises(CliError, match="App key and secret are needed"):
        verb(**options)
