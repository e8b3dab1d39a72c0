"""The table of routes: what is found, what is not, and that the description made from it is true."""

from __future__ import annotations

import typing
from typing import Any

import msgspec
import pytest

from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.openapi import document
from greenroom.server.http.problems import ProblemError
from greenroom.server.http.routes import Answer, Call, Nothing, Route, Table


async def _handler(_call: Call[Nothing, Nothing, Nothing]) -> Nothing:
    """Nothing."""
    return Nothing()


def route(method: str, path: str) -> Route:
    return Route(method=method, path=path, handler=_handler, summary="A test", tag="test")


TABLE = Table(
    [
        route("GET", "/things"),
        route("POST", "/things"),
        route("GET", "/things/{thing}"),
        route("DELETE", "/things/{thing}"),
        route("GET", "/things/{thing}/parts/{part}"),
        route("GET", "/things/special"),
    ]
)


def problem_of(method: str, path: str) -> Any:
    with pytest.raises(ProblemError) as caught:
        TABLE.find(method, path)
    return caught.value.problem


@pytest.mark.parametrize(
    ("method", "path", "row", "values"),
    [
        ("GET", "/things", "/things", {}),
        ("POST", "/things", "/things", {}),
        ("GET", "/things/1", "/things/{thing}", {"thing": "1"}),
        ("GET", "/things/special", "/things/special", {}),
        ("DELETE", "/things/__proto__", "/things/{thing}", {"thing": "__proto__"}),
        ("GET", "/things/a%2Fb/parts/%C3%A9", "/things/{thing}/parts/{part}", {"thing": "a/b", "part": "é"}),
    ],
)
def test_finds_the_row_and_decodes_the_path(method: str, path: str, row: str, values: dict[str, str]) -> None:
    found = TABLE.find(method, path)
    assert (found.route.method, found.route.path) == (method, row)
    assert found.values == values


def test_head_is_answered_by_the_row_of_get() -> None:
    assert TABLE.find("HEAD", "/things").route.method == "GET"


@pytest.mark.parametrize(
    "path", ["/", "", "/thing", "/things/", "/things//parts/1", "/things/1/parts/", "//things", "/THINGS"]
)
def test_unknown_paths_are_404(path: str) -> None:
    assert problem_of("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/things", "GET, HEAD, POST, OPTIONS"),
        ("TRACE", "/things/1", "DELETE, GET, HEAD, OPTIONS"),
        ("get", "/things", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/things/special", "GET, HEAD, OPTIONS"),
    ],
)
def test_known_path_unknown_method_is_405_with_allow(method: str, path: str, allow: str) -> None:
    problem = problem_of(method, path)
    assert problem.status == 405
    assert problem.headers == {"Allow": allow}


def test_a_segment_that_is_not_utf8_is_400() -> None:
    assert problem_of("GET", "/things/%ff").reason == "Illegal_argument"


def test_two_rows_of_one_method_and_path_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="two routes for GET /a/{b}"):
        Table([route("GET", "/a/{b}"), route("GET", "/a/{b}")])


@pytest.mark.parametrize("row", API_ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_each_handler_takes_and_gives_what_its_row_declares(row: Route) -> None:
    hints = typing.get_type_hints(row.handler, localns={"Any": Any})
    result = hints.pop("return")
    (call,) = hints.values()
    assert typing.get_origin(call) is Call
    assert typing.get_args(call) == (row.path_type, row.query_type, row.body_type)
    if result is not Answer and typing.get_origin(result) is None:
        assert result is row.reply_type
    assert row.handler.__doc__, "the description in /openapi.json is the handler's docstring"


@pytest.mark.parametrize("row", API_ROUTES, ids=lambda row: f"{row.method} {row.path}")
def test_path_names_and_fields_of_the_path_type_agree(row: Route) -> None:
    names = {segment[1:-1] for segment in row.path.split("/") if segment.startswith("{")}
    assert names == {field.encode_name for field in msgspec.structs.fields(row.path_type)}


def test_operation_ids_are_unique() -> None:
    names = [
        operation["operationId"]
        for operations in document(API_ROUTES, version="1")["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))
