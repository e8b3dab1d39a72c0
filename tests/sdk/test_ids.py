"""Ids that an app gives are checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom import IllegalArgumentError
from greenroom.sdk.ids import checked_ids, checked_strings
from tests.support.sdk import a_participant_id

A, B = a_participant_id("a"), a_participant_id("b")


def test_each_once_and_a_string_is_one() -> None:
    assert checked_strings("ids", ["b", "a", "b"]) == ["b", "a"]
    assert checked_strings("ids", "ab") == ["ab"]
    assert checked_ids("ids", [A.upper(), A, B]) == [A, B]
    assert checked_ids("ids", ()) == []


@pytest.mark.parametrize("given", [[""], [5], [None], ""])
def test_what_is_no_text_is_refused_by_name(given: Any) -> None:
    with pytest.raises(IllegalArgumentError, match="external_ids must hold strings"):
        checked_strings("external_ids", given)


@pytest.mark.parametrize("given", ["anna", "ext:anna"])
def test_an_external_id_is_no_id_and_the_error_says_what_to_pass(given: str) -> None:
    with pytest.raises(IllegalArgumentError, match=r"external_ids=\['anna'\]"):
        checked_ids("to", [given])
