"""External ids, as the SDK, tokens and the service take them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.errors import IllegalArgumentError
from greenroom.external_ids import check_external_id, differ_only_in_form


def test_an_external_id_is_kept_byte_for_byte() -> None:
    for each in ("a", "Ä", "A\u0308", " x ", "user@example.org", "a" * 1024, "ä" * 512, "\u202e"):
        assert check_external_id(each) == each
    assert check_external_id("") is None
    assert check_external_id(None) is None


@pytest.mark.parametrize("external_id", ["\x00", "a\nb", "\x7f", "\x9f", "\ud800", "a" * 1025, "ä" * 513])
def test_an_external_id_is_refused(external_id: str) -> None:
    with pytest.raises(IllegalArgumentError):
        check_external_id(external_id)


def test_a_mismatch_that_nfc_would_remove_is_recognised() -> None:
    assert differ_only_in_form("\u00c4", "A\u0308")
    assert not differ_only_in_form("a", "b")
    assert not differ_only_in_form("a", "a")
    assert not differ_only_in_form("a" * 100_000, "b" * 100_000)


@pytest.mark.parametrize("value", [7, b"a", ["a"]])
def test_what_is_no_string_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(IllegalArgumentError, match="externalId is not a string"):
        check_external_id(value, "externalId")


@given(st.text(st.characters(), max_size=300))
def test_what_is_accepted_stays_accepted_and_encodes(text: str) -> None:
    try:
        kept = check_external_id(text)
    except IllegalArgumentError:
        return
    assert check_external_id(kept) == kept
    (kept or "").encode()


def test_a_long_text_is_refused_before_it_is_looked_at() -> None:
    text = "a" * 100_000_000
    before = time.thread_time()
    with pytest.raises(IllegalArgumentError, match="too long"):
        check_external_id(text)
    assert time.thread_time() - before < 0.05
