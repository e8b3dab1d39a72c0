"""Key sets of issuers in virtual time: how long they are kept, when they are asked for again, and what they cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from greenroom.errors import ServiceUnavailableError
from greenroom.model import TokenIssuer
from greenroom.server.outbound.documents import Document, FetchFailedError
from greenroom.server.tenants.key_sets import AT_ONCE, MAX_KEYS, KeySets, keys_in
from tests.server.issuers import NoFetcher, ScriptedFetcher, signer

KEYS = {"keys": [signer("ES256").public]}
BOTH = {"keys": [signer("ES256").public, signer("ES256", "key-2").public]}


def issuer(number: int = 1) -> TokenIssuer:
    return TokenIssuer(
        id=f"iss_{number}", issuer="https://id.example", audience=str(number), algorithms=("ES256",),
        jwks_url=f"https://id.example/jwks/{number}",
    )  # fmt: skip


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0


class Bench:
    """Key sets of one issuer, with a script in place of the issuer."""

    def __init__(self, answer: Any = KEYS, max_age: float | None = None) -> None:
        self.clock = Clock()
        self.fetcher = ScriptedFetcher(answer)
        self.fetcher.max_age = max_age
        self.ended: list[tuple[str, bool]] = []
        self.sets = KeySets(
            self.fetcher, monotonic=lambda: self.clock.now, fetched=lambda app, good: self.ended.append((app, good))
        )

    @property
    def fetches(self) -> int:
        return len(self.fetcher.urls)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """With the looks that the background task takes."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 10.0)
            self.sets.tick()
            await self.settle()

    def find(self, kid: str = "key-1") -> str | None:
        found = self.sets.find("app", issuer(), kid)
        return None if found is None else found.kid

    def wait(self, kid: str = "key-1") -> float:
        """When a client with such a token is asked to come back."""
        with pytest.raises(ServiceUnavailableError) as caught:
            self.find(kid)
        assert caught.value.retryable
        assert caught.value.retry_after is not None
        return caught.value.retry_after

    async def loaded(self) -> Bench:
        self.wait()
        await self.settle()
        assert self.find() == "key-1"
        return self


async def test_the_first_token_asks_for_the_set_and_the_client_comes_back() -> None:
    bench = Bench()
    assert bench.wait() == 1.0
    assert bench.wait() == 1.0
    await bench.settle()
    assert bench.find() == "key-1"
    assert (bench.fetches, bench.ended) == (1, [("app", True)])
    assert bench.fetcher.urls == ["https://id.example/jwks/1"]


@pytest.mark.parametrize(
    ("max_age", "kept"),
    [(None, 300), (0, 300), (60, 300), (3600, 3600), (86_400, 86_400), (10**9, 86_400)],
)
async def test_a_set_in_use_is_fetched_again_before_it_is_as_old_as_cache_control_says(
    max_age: float | None, kept: float
) -> None:
    bench = await Bench(max_age=max_age).loaded()
    await bench.pass_time(kept - 70)
    assert bench.fetches == 1
    bench.find()
    await bench.pass_time(20)
    assert bench.fetches == 2
    age = bench.sets.state("app", issuer()).age
    assert age is not None
    assert age <= 20


async def test_a_set_that_no_token_asked_for_in_a_day_is_dropped() -> None:
    bench = await Bench().loaded()
    await bench.pass_time(86_400)
    assert bench.sets.states == {}
    fetches = bench.fetches
    await bench.pass_time(3600)
    assert bench.fetches == fetches


async def test_the_last_good_set_is_used_for_a_day_while_the_issuer_is_away() -> None:
    bench = await Bench().loaded()
    bench.fetcher.answer = "no answer within 10 s"
    for _ in range(24):
        await bench.pass_time(3600)
        assert bench.find() == "key-1"
    state = bench.sets.state("app", issuer())
    assert state.failures > 1000
    assert state.why == "no answer within 10 s"
    await bench.pass_time(301)
    assert 1.0 <= bench.wait() <= 30.0
    bench.fetcher.answer = KEYS
    await bench.pass_time(40)
    assert bench.find() == "key-1"
    assert bench.sets.state("app", issuer())[2:] == (0, "")


async def test_an_issuer_that_is_away_is_asked_every_30_seconds() -> None:
    bench = Bench("connections are refused")
    bench.wait()
    await bench.settle()
    for _ in range(20):
        bench.wait()
        await bench.settle()
    assert bench.fetches == 1
    assert bench.wait() == 30.0
    await bench.pass_time(300)
    assert bench.fetches == 11
    assert bench.ended == [("app", False)] * 11


async def test_an_unknown_kid_makes_the_set_be_fetched_and_a_new_key_is_known_then() -> None:
    bench = await Bench(max_age=86_400).loaded()
    await bench.pass_time(60)
    bench.fetcher.answer = BOTH
    assert bench.wait("key-2") == 1.0
    await bench.settle()
    assert bench.find("key-2") == "key-2"
    assert bench.fetches == 2


async def test_a_kid_that_is_not_in_the_set_is_refused_for_good_once_it_was_asked_for() -> None:
    bench = await Bench(max_age=86_400).loaded()
    await bench.pass_time(60)
    assert bench.wait("no-such-key") == 1.0
    await bench.settle()
    assert bench.find("no-such-key") is None
    assert bench.fetches == 2
    assert bench.find("key-1") == "key-1"


async def test_unknown_kids_make_one_request_in_30_seconds() -> None:
    bench = await Bench(max_age=86_400).loaded()
    await bench.pass_time(40)
    for second in range(120):
        for number in range(5):
            assert 1.0 <= bench.wait(f"made-up-{second}-{number}") <= 30.0
        bench.clock.now += 1
        await bench.settle()
    assert bench.fetches == 1 + 4
    one = bench.sets._sets["app", "iss_1"]
    assert len(one.asked) <= 100


async def test_a_key_that_appeared_meanwhile_is_found_though_others_ask_for_made_up_ones() -> None:
    bench = await Bench(max_age=86_400).loaded()
    await bench.pass_time(60)
    bench.wait("made-up")
    await bench.settle()
    bench.fetcher.answer = BOTH
    bench.clock.now += 5
    wait = bench.wait("key-2")
    assert wait == 25.0
    bench.clock.now += wait
    assert bench.wait("key-2") == 1.0
    await bench.settle()
    assert bench.find("key-2") == "key-2"


class Hanging(NoFetcher):
    """Answers nobody."""

    def __init__(self) -> None:
        self.waiting = 0

    async def fetch(self, url: str, *, app: str) -> Document:
        if app != "slow":
            return Document(b'{"keys":[%s]}' % json.dumps(signer("ES256").public).encode(), None)
        self.waiting += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_slow_issuer_delays_no_other_application() -> None:
    fetcher = Hanging()
    sets = KeySets(fetcher, monotonic=lambda: 0.0)
    for number in range(8):
        with pytest.raises(ServiceUnavailableError):
            sets.find("slow", issuer(number), "key-1")
    with pytest.raises(ServiceUnavailableError):
        sets.find("other", issuer(), "key-1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    found = sets.find("other", issuer(), "key-1")
    assert found is not None
    assert fetcher.waiting == AT_ONCE
    await sets.close()
    assert sets.states == {}


async def test_what_was_removed_is_forgotten_and_its_request_cancelled() -> None:
    fetcher = Hanging()
    sets = KeySets(fetcher, monotonic=lambda: 0.0)
    with pytest.raises(ServiceUnavailableError):
        sets.find("slow", issuer(), "key-1")
    await asyncio.sleep(0)
    sets.keep(())
    assert sets.states == {}
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_people_who_wait_get_the_set_at_once() -> None:
    bench = Bench(BOTH)
    state = await bench.sets.fetch_now("app", issuer(), "key-2")
    assert (state.age, state.keys, state.failures, state.why) == (0.0, 2, 0, "")
    away = Bench("status 404")
    assert (await away.sets.fetch_now("app", issuer())) == (None, 0, 1, "status 404")


# -- what is in a set --------------------------------------------------------------------------------------------------


def test_keys_that_are_for_something_else_are_left_out() -> None:
    wanted = signer("ES256").public
    others = [
        {**wanted, "use": "enc", "kid": "enc"}, signer("RS256", "rsa").public, {"kty": "oct", "k": "AAAA", "kid": "s"},
        {**signer("ES256", "other").public, "d": "AAAA"}, "nonsense", {}, {**wanted, "x": "AAAA", "kid": "broken"},
        {**signer("ES256", "twin").public, "kid": "key-1"},
    ]  # fmt: skip
    body = json.dumps({"keys": [wanted, *others]}).encode()
    assert [key.kid for key in keys_in(body, issuer())] == ["key-1"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not a key set"),
        (b"[]", "not a key set"),
        (b"<html>", "not a key set"),
        (b'{"keys":{}}', "not a key set"),
        (b"\xff", "not a key set"),
        (b"[" * 60_000, "not a key set"),
        (b'{"keys":[]}', "no key for the issuer's algorithms"),
        (b'{"keys":[' + b"{}," * MAX_KEYS + b"{}]}", "more than 64 keys"),
    ],
)
def test_what_is_no_set_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(FetchFailedError, match=why):
        keys_in(body, issuer())
