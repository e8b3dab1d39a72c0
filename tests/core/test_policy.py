"""The decision inside `open` and the proof inside `attach`, each case by its rule."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.core.policy import Proof, check_secrets, cutoff_now, decide_open
from greenroom.model import SessionPolicy


@dataclass(frozen=True)
class S:
    id: str
    order: int
    device_id: str | None = None
    detached_at: int | None = None


def yielding(policy: SessionPolicy, device: str | None, *standing: S) -> list[str] | None:
    """Ids of those that yield, None where the open is refused."""
    decision = decide_open(policy, device, standing)
    return None if decision.refused else [session.id for session in decision.yielding]


REJECT = SessionPolicy(max_sessions=2)
OLDEST = SessionPolicy(max_sessions=2, when_full="replace_oldest")


def test_room_is_room() -> None:
    assert yielding(REJECT, None) == []
    assert yielding(REJECT, "d2", S("a", 1, "d1")) == []


def test_the_same_device_takes_over_its_own_ghost() -> None:
    assert yielding(REJECT, "d", S("a", 1, "d", detached_at=5)) == ["a"]
    assert yielding(REJECT, "d", S("a", 1, "d"), S("b", 2, "x")) == ["a"]


def test_the_same_device_is_replaced_before_limits_are_looked_at() -> None:
    assert yielding(REJECT, "d", S("a", 1, "x", detached_at=1), S("b", 2, "d")) == ["b"]


def test_all_sessions_of_the_same_device_yield() -> None:
    assert yielding(SessionPolicy(), "d", S("a", 1, "d"), S("b", 2, "d"), S("c", 3, "x")) == ["a", "b"]


def test_same_device_allow_counts_it_like_any_other() -> None:
    policy = SessionPolicy(max_sessions=2, same_device="allow")
    assert yielding(policy, "d", S("a", 1, "d")) == []
    assert yielding(policy, "d", S("a", 1, "d"), S("b", 2, "d")) is None


def test_no_device_id_is_no_device() -> None:
    assert yielding(SessionPolicy(), None, S("a", 1, None)) == []


def test_s3_the_oldest_detached_one_yields_first_also_under_reject() -> None:
    assert yielding(REJECT, None, S("a", 1), S("b", 2, detached_at=9)) == ["b"]
    assert yielding(REJECT, None, S("a", 1, detached_at=9), S("b", 2, detached_at=3)) == ["b"]
    assert yielding(OLDEST, None, S("a", 1), S("b", 2, detached_at=9)) == ["b"]


def test_reject_refuses_where_all_are_connected() -> None:
    assert yielding(REJECT, None, S("a", 1), S("b", 2)) is None


def test_replace_oldest_takes_the_one_opened_first() -> None:
    assert yielding(OLDEST, None, S("b", 2), S("a", 1)) == ["a"]


def test_a_narrowed_limit_makes_several_yield_or_none() -> None:
    one = SessionPolicy(max_sessions=1)
    assert yielding(one, None, S("a", 1, detached_at=1), S("b", 2, detached_at=2)) == ["a", "b"]
    assert yielding(one, None, S("a", 1, detached_at=1), S("b", 2)) is None
    narrow = SessionPolicy(max_sessions=1, when_full="replace_oldest")
    assert yielding(narrow, None, S("a", 1), S("b", 2), S("c", 3)) == ["a", "b", "c"]


@pytest.mark.parametrize("when_full", ["reject", "replace_oldest"])
def test_a_limit_of_none_lets_nobody_in(when_full: str) -> None:
    nobody = SessionPolicy(max_sessions=0, when_full=when_full)
    assert yielding(nobody, None) is None
    assert yielding(nobody, None, S("a", 1, detached_at=1)) is None


_sessions = st.lists(
    st.builds(lambda device, gone: (device, gone), st.sampled_from([None, "d", "e"]), st.none() | st.integers(0, 3)),
    max_size=5,
)


@given(
    _sessions,
    st.integers(0, 5),
    st.sampled_from(["reject", "replace_oldest"]),
    st.sampled_from(["replace", "allow"]),
    st.sampled_from([None, "d"]),
)
def test_after_an_open_the_limit_holds_and_order_of_reading_does_not_matter(
    drawn: list[tuple[str | None, int | None]], most: int, when_full: str, same_device: str, device: str | None
) -> None:
    standing = [S(f"s{number}", number, dev, gone) for number, (dev, gone) in enumerate(drawn)]
    policy = SessionPolicy(max_sessions=most, when_full=when_full, same_device=same_device)
    decision = decide_open(policy, device, standing)
    left = [session for session in standing if session not in decision.yielding]
    if not decision.refused:
        assert len(left) + 1 <= most
        if device is not None and same_device == "replace":
            assert all(session.device_id != device for session in left)
    else:
        assert decision.yielding == ()
    if len(standing) <= 4:
        for other in permutations(standing):
            again = decide_open(policy, device, other)
            assert again.refused == decision.refused
            assert set(again.yielding) == set(decision.yielding)


C, P, N = b"c" * 32, b"p" * 32, b"n" * 32


@pytest.mark.parametrize(
    ("secret", "following", "attempt", "proof"),
    [
        (C, N, 4, Proof.ACCEPTED),
        (C, C, 4, Proof.ACCEPTED),
        (C, N, 3, Proof.SUPERSEDED),
        (C, N, 1, Proof.SUPERSEDED),
        (P, C, 4, Proof.REPEATED),  # the reply was lost: the client says it all again
        (P, C, 3, Proof.SUPERSEDED),
        (P, N, 4, Proof.REFUSED),  # an old secret cannot choose a new one
        (P, N, 2, Proof.SUPERSEDED),  # a late dial of before
        (P, b"", 4, Proof.REFUSED),
        (N, C, 4, Proof.REFUSED),
        (b"", C, 4, Proof.REFUSED),
    ],
)
def test_s1_secrets(secret: bytes, following: bytes, attempt: int, proof: Proof) -> None:
    judged = check_secrets(current=C, previous=P, last_attempt=3, secret=secret, following=following, attempt=attempt)
    assert judged is proof


def test_s1_no_previous_secret_matches_nothing() -> None:
    judged = check_secrets(current=C, previous=b"", last_attempt=0, secret=b"", following=C, attempt=1)
    assert judged is Proof.REFUSED


def test_s18_a_cutoff_is_rounded_up() -> None:
    assert cutoff_now(1_000) == 1
    assert cutoff_now(1_001) == 2
