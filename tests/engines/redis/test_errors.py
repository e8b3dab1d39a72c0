"""What Redis says when it refuses, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenroom.codes import ErrorCode
from greenroom.engines.redis.address import parse_address
from greenroom.engines.redis.errors import _HINTS, cannot_start, from_reply, outcome_open, unreachable
from greenroom.errors import ServiceUnavailableError
from tests.support.redis_server import RedisServer, single
from tests.support.redis_world import RedisWorld


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with single() as running:
        yield running


@pytest.mark.slow
async def test_when_redis_is_full_opens_are_refused_retryably_and_ends_still_go_through(server: RedisServer) -> None:
    async with RedisWorld(server.url, lambda: server.execute("FLUSHALL")) as w:
        a, b = await w.client("alice"), await w.client("bob")
        server.execute("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(ServiceUnavailableError) as caught:
            await w.open("carol")
        assert caught.value.code is ErrorCode.STORAGE_FULL
        assert caught.value.retryable
        with pytest.raises(ServiceUnavailableError):
            await w.engine.healthy()
        await a.close()
        await b.detach(2)
        assert [session.id for session in (await w.advance(4)).ended] == [b.id]
        server.execute("CONFIG", "SET", "maxmemory", "0")
        await w.open("carol")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", ErrorCode.STORAGE_FULL),
        ("MISCONF Redis is configured to save RDB snapshots", ErrorCode.STORAGE_FULL),
        ("READONLY You can't write against a read only replica.", ErrorCode.SERVICE_UNAVAILABLE),
        ("NOREPLICAS Not enough good replicas to write.", ErrorCode.SERVICE_UNAVAILABLE),
    ],
)
def test_what_redis_said_is_for_the_log_alone(text: str, code: ErrorCode) -> None:
    error = from_reply(text)
    assert (error.code, error.detail, error.retryable, error.retry_after) == (code, text, True, 1.0)
    assert text not in str(error)


def test_want_of_memory_may_be_said_by_the_client_library() -> None:
    assert from_reply("command not allowed", full=True).code is ErrorCode.STORAGE_FULL


def test_what_was_not_sent_is_distinguished_from_what_may_have_been_done() -> None:
    cause = OSError("reset")
    assert unreachable("x", cause).code is ErrorCode.SERVICE_UNAVAILABLE
    assert outcome_open("x", cause).code is ErrorCode.OUTCOME_UNKNOWN
    assert unreachable("x", cause).__cause__ is cause
    assert "x" not in str(unreachable("x"))


def start_error(detail: str, url: str = "redis://greenroom:hunter2@h1:1,h2:2") -> str:
    return str(cannot_start(unreachable(detail), parse_address(url)))


@pytest.mark.parametrize("words", [words for words, _ in _HINTS], ids=lambda words: words[0])
def test_for_each_thing_that_redis_says_there_is_what_to_change(words: tuple[str, ...]) -> None:
    hint = next(hint for known, hint in _HINTS if known is words)
    for word in words:
        assert hint in start_error(f"ConnectionError: {word} here.")


def test_the_error_names_the_place_what_was_said_and_no_password() -> None:
    said = start_error("AuthenticationError: WRONGPASS no.")
    assert said.startswith("Redis at h1:1, h2:2 (redis) cannot be used: WRONGPASS no.")
    assert "hunter2" not in said


def test_where_nothing_is_known_the_other_scheme_is_proposed() -> None:
    assert "Write rediss:// if it speaks TLS." in start_error("")
    assert "no answer in time" in start_error("TimeoutError: ")
    assert "(rediss)" in start_error("", "rediss://h1")
    assert "Write redis:// if the port does not speak TLS." in start_error("", "rediss://h1")
