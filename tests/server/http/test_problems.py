"""The one error body, and the headers that go with it."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import msgspec
import pytest

from greenroom.codes import ERRORS, ErrorCode
from greenroom.errors import (
    CLASS_OF_CODE,
    ParticipantBlockedError,
    RateLimitedError,
    ScopeMissingError,
    ServiceUnavailableError,
    TokenInvalidError,
)
from greenroom.server.http import problems


def _body(problem: problems.Problem) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(problem.body())
    return body


@pytest.mark.parametrize("code", list(CLASS_OF_CODE), ids=lambda code: code.name)
def test_every_error_has_a_body_that_says_what_to_change(code: ErrorCode) -> None:
    problem = problems.problem_of(CLASS_OF_CODE[code](code=code))
    body = _body(problem)
    assert 400 <= problem.status < 600
    assert body["type"] == "ErrorResponse"
    assert body["error_code"] == ERRORS[code].platform_code
    assert body["error"] == body["error"].lower()
    assert body["error_description"].startswith(ERRORS[code].meaning)
    assert ("Retry-After" in problem.headers) == (problem.status in (429, 503))


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "60"), (0.2, "1"), (1.2, "2"), (inf, "60"), (nan, "60"), (3600.0, "3600")]
)
def test_retry_after_is_in_whole_seconds(seconds: float | None, text: str) -> None:
    assert problems.problem_of(RateLimitedError(retry_after=seconds)).headers["Retry-After"] == text


def test_without_a_time_an_absence_is_shorter_than_a_limit() -> None:
    assert problems.problem_of(ServiceUnavailableError()).headers["Retry-After"] == "5"


def test_details_hold_what_programs_need_and_not_twice_what_headers_say() -> None:
    assert _body(problems.problem_of(ParticipantBlockedError(until=5)))["details"] == {"until": 5}
    assert "details" not in _body(problems.problem_of(RateLimitedError(retry_after=5.0)))
    assert "details" not in _body(problems.problem_of(ScopeMissingError(scope="x")))


def test_bad_credentials_of_either_kind_have_one_reason_and_two_words() -> None:
    key, token = (
        _body(problems.problem_of(TokenInvalidError(code=code)))
        for code in (ErrorCode.INVALID_CLIENT, ErrorCode.TOKEN_INVALID)
    )
    assert key["error_reason"] == token["error_reason"]
    assert (key["error"], token["error"]) == ("invalid_client", "invalid_token")


def test_challenges() -> None:
    def of(*arguments: Any) -> str:
        return problems.challenge(*arguments)["WWW-Authenticate"]

    assert of("Basic", TokenInvalidError()) == 'Basic realm="greenroom", charset="UTF-8"'
    assert of("Bearer") == 'Bearer realm="greenroom"'
    assert of("Bearer", TokenInvalidError()) == 'Bearer realm="greenroom", error="invalid_token"'
    assert of("Bearer", ScopeMissingError(scope="tokens:create")) == (
        'Bearer realm="greenroom", error="insufficient_scope", scope="tokens:create"'
    )


def test_more_headers_leave_the_others() -> None:
    problem = problems.wrong_method(["GET", "PUT"]).problem
    more = problem.with_headers({"X": "1"})
    assert (more.headers, problem.headers) == ({"Allow": "GET, PUT", "X": "1"}, {"Allow": "GET, PUT"})


def test_a_content_type_is_repeated_short_and_as_ascii() -> None:
    text = problems.wrong_type(["application/json"], "text/é" + "x" * 100, looks_like_json=True).problem.description
    assert "text/?" + "x" * 54 + "." in text
    plain = problems.wrong_type(["application/json", "text/plain"], "text/html").problem.description
    assert "application/json or text/plain" in plain


@pytest.mark.parametrize(("status", "sent"), [(400, 400), (431, 431), (200, 400), (500, 400)])
def test_what_is_not_http_is_the_client_s_mistake(status: int, sent: int) -> None:
    problem = problems.malformed(status)
    assert (problem.status, problem.closes) == (sent, True)


def test_what_cannot_be_continued_closes() -> None:
    assert problems.too_slow().problem.closes
    assert problems.too_large(5).problem.closes
    assert problems.wrong_expectation().problem.closes
    assert not problems.no_such_path().problem.closes
    assert not problems.internal().closes


def test_every_refusal_of_http_alone_has_the_one_body() -> None:
    from greenroom.server.http import problems

    made: list[Any] = [
        problems.no_such_path().problem,
        problems.wrong_method(["GET"]).problem,
        problems.too_slow().problem,
        problems.too_large(1).problem,
        problems.wrong_type("x").problem,
        problems.wrong_expectation().problem,
        problems.internal(),
        problems.malformed(431),
        problems.malformed(599),
    ]
    for problem in made:
        body = json.loads(problem.body())
        assert body.keys() == {"type", "error", "error_code", "error_reason", "error_description"}
        assert body["error_description"].endswith((".", "?"))
