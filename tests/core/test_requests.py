"""Whom a search finds: by name, external id or id, in any case and in any composition."""

from __future__ import annotations

import pytest

from greenroom.core.requests import ParticipantQuery, folded

ID = "5b1c-anna"


@pytest.mark.parametrize(
    ("search", "name", "external_id", "is_found"),
    [
        ("", "Anna", None, True),
        ("NN", "Anna", None, True),
        ("nn", "ANNA", None, True),
        ("é", "Rene\u0301", None, True),
        ("e\u0301", "RENÉ", None, True),
        ("strasse", "Hohe Straße", None, True),
        ("ß", "STRASSE", None, True),
        ("user-7", "Anna", "USER-7", True),
        ("5b1c", "Anna", None, True),
        ("5B1C", "Anna", None, True),
        ("e", "é", None, False),
        ("bob", "Anna", "user-7", False),
        ("none", "Anna", None, False),
    ],
)
def test_a_search_finds(search: str, name: str, external_id: str | None, is_found: bool) -> None:
    finds = ParticipantQuery(app="app", search=search).finder()
    assert finds(name, external_id, ID) is is_found


@pytest.mark.parametrize("text", ["Anna", "RENE\u0301", "ΌΣΟΣ", "ﬁ", "İ"])
def test_what_is_folded_stays_as_it_is(text: str) -> None:
    assert folded(folded(text)) == folded(text)
