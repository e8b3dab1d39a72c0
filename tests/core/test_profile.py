"""Names, avatar URLs and external ids: what is kept, what is refused, and how long it takes to say so."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.core.profile import (
    check_attributes,
    check_avatar_url,
    check_name,
    check_status,
    merge_attributes,
    not_for_clients,
)
from greenroom.errors import IllegalArgumentError

SCOTLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"

KEPT_NAMES = [
    "",
    "Ada Lovelace",
    "名前",
    "José",
    "مريم",
    "דָּוִד",
    "क्‍ष",  # zero width joiner inside a cluster
    "می‌خواهم",  # zero width non-joiner
    "👩‍👩‍👧‍👦",
    "☎️",
    "葛\U000e0100",  # ideographic variation selector
    SCOTLAND,
    f"fan of {SCOTLAND}!",
    "__proto__",
    "<script>alert(1)</script>",
    "a" * 256,
    "😀" * 256,
    "\U000378f0",  # not assigned in any Unicode yet
    "\u00ad",
]

REFUSED_NAMES = [
    ("a\x00b", "control"),
    ("tab\t", "control"),
    ("line\nbreak", "control"),
    ("\x7f", "control"),
    ("\x85", "control"),
    ("\ud800", "lone surrogate"),
    ("a\udfffb", "lone surrogate"),
    ("a\u2028b", "line separator"),
    ("a\u2029b", "line separator"),
    ("\ue000", "private-use"),
    ("\U000f0000", "private-use"),
    ("\U0010fffd", "private-use"),
    ("\ufdd0", "noncharacter"),
    ("\ufffe", "noncharacter"),
    ("\U0001ffff", "noncharacter"),
    ("\U0010ffff", "noncharacter"),
    *((chr(mark), "bidirectional") for mark in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    ("\U000e0041", "tag"),  # hidden text
    ("x\U000e0041\U000e007f", "tag"),  # no emoji carries it
    ("\U0001f3f4\U000e0067", "tag"),  # never ends
    ("\U0001f3f4\U000e007f", "tag"),  # says nothing
    ("\U0001f3f4" + "\U000e0061" * 31 + "\U000e007f", "tag"),
    ("\U000e0001", "tag"),
    ("a" * 257, "long"),
    ("a" * 100_000, "long"),
]


@pytest.mark.parametrize("name", KEPT_NAMES)
def test_a_name_is_kept(name: str) -> None:
    assert check_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(("name", "why"), REFUSED_NAMES)
def test_a_name_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(IllegalArgumentError, match=why) as caught:
        check_name(name)
    assert caught.value.hint


def test_a_name_is_stored_as_nfc_and_measured_so() -> None:
    assert check_name("e\u0301" * 256) == "é" * 256
    # U+0958 grows under NFC: it is excluded from composition.
    with pytest.raises(IllegalArgumentError, match="long"):
        check_name("\u0958" * 200)


@pytest.mark.parametrize("value", [None, 1, b"bytes", ["list"], {}])
def test_what_is_no_string_is_refused(value: Any) -> None:
    with pytest.raises(IllegalArgumentError, match="string"):
        check_name(value)
    with pytest.raises(IllegalArgumentError, match="string"):
        check_avatar_url(value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://example.org/a.png",
        "HTTP://EXAMPLE.ORG",
        "http://[::1]:8080/a",
        "https://user@example.org/a?b=c#d",
        "/avatars/1.png",
        "avatars/1.png?v=1:2",
        "//cdn.example.org/a.png",
        "?v=1",
        "#a",
        "./a:b",
        "https://example.org/ä.png",
        "h" * 2048,
    ],
)
def test_an_avatar_url_is_kept_as_it_is(url: str) -> None:
    assert check_avatar_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "vbscript:x",
        "blob:https://example.org/1",
        "file:///etc/passwd",
        "ftp://example.org/a",
        "view-source:https://example.org",
        ":",
        "://example.org",
        "1http://example.org",
        "\u202ehttps://example.org",
        "https:",
        "https:example.org",
        "https:/example.org",
        "https:///a",
        "https://:80/a",
        "https://user@/a",
        "//",
        "https:\\\\example.org",
        "https://example.org/a b",
        'https://example.org/"onerror=',
        "https://example.org/<b>",
        "https://example.org/\u00a0",
        "https://example.org/\ud800",
        "h" * 2049,
        "h" * 1_000_000,
    ],
)
def test_an_avatar_url_is_refused(url: str) -> None:
    with pytest.raises(IllegalArgumentError):
        check_avatar_url(url)


@given(st.text(st.characters(), max_size=300))
def test_what_is_accepted_stays_accepted_and_encodes(text: str) -> None:
    for check in (check_name, check_avatar_url):
        try:
            kept = check(text)
        except IllegalArgumentError:
            continue
        assert check(kept or "") == kept
        (kept or "").encode()


@given(st.text(st.characters(max_codepoint=127), max_size=255))
def test_the_short_way_of_a_plain_name_says_what_the_long_one_does(name: str) -> None:
    """The long one is taken as soon as a character is not ASCII."""

    def judged(text: str) -> bool:
        try:
            return check_name(text) == text
        except IllegalArgumentError:
            return False

    assert judged(name) == judged(name + "é")


@given(st.from_regex(r"http[:/@.a-z0-9?#\[\]<>\\ \x00-\x20\x7f-\xa0]{0,40}", fullmatch=True))
def test_the_short_way_of_a_plain_url_says_what_the_long_one_does(url: str) -> None:
    """The long one is taken where the scheme is not in lower case."""

    def judged(text: str) -> bool:
        try:
            return check_avatar_url(text) == text
        except IllegalArgumentError:
            return False

    assert judged(url) == judged("H" + url[1:])


HOSTILE = [
    "\u0300\u0345" * 8192,
    "a" + "\u0300" * 16_384,
    ("\u0344" * 1023) + "x",  # decomposes, and has to be sorted
    ("\u0315\u0300" * 512),
    "\U000e0067" * 1024,
    SCOTLAND * 36,
    ":" * 2048,
    "/" * 2048,
    "@" * 2048,
    "//" + "@" * 2046,
    "\ufdfa" * 1024,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_judged_in_time(text: str) -> None:
    """Of the processor; ten times what it takes, and far less than a look at each pair of its characters."""
    for check in (check_name, check_avatar_url):
        best = min(_seconds(check, text) for _ in range(5))
        assert best < 0.05, f"{check.__name__} took {best * 1000:.1f} ms"


def _seconds(check: Any, text: str) -> float:
    before = time.thread_time()
    try:
        check(text)
    except IllegalArgumentError:
        pass
    return time.thread_time() - before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"": "x"}, "is empty"),
        ({"a" * 65: "x"}, "too long"),
        ({"a\nb": "x"}, "control character"),
        ({"\ud800": "x"}, "lone surrogate"),
        ({"role": "x" * 1025}, "attributes.role is too long"),
        ({"role": "é" * 513}, "attributes.role is too long"),
        ({"role": "a\x00"}, "attributes.role holds a control character"),
        ({"role": "\udfff"}, "attributes.role holds a lone surrogate"),
        ({"role": 5}, "attributes.role is not a string"),
        ({str(number): None for number in range(65)}, "65 members"),
        (["role"], "not a mapping"),
    ],
)
def test_an_attribute_is_refused_by_name(changes: Any, problem: str) -> None:
    with pytest.raises(IllegalArgumentError, match=problem):
        check_attributes(changes)


def test_attributes_are_kept_as_they_are() -> None:
    changes = {"é" * 64: "é" * 512, "role": None, "text": "two\nlines\tand a tab\r", "__proto__": ""}
    assert check_attributes(changes) == changes


def test_attributes_are_merged_by_name_and_none_removes() -> None:
    assert merge_attributes(None, {"b": "2", "a": "1", "c": None}) == {"a": "1", "b": "2"}
    assert list(merge_attributes({"b": "2"}, {"a": "1"}) or ()) == ["a", "b"]
    assert merge_attributes({"a": "1"}, {"a": None}) is None
    assert merge_attributes({"a": "1"}, {}) == {"a": "1"}


def test_attributes_beyond_the_limits_are_refused() -> None:
    full = {str(number): "x" for number in range(32)}
    assert len(merge_attributes(full, {"0": None, "new": "x"}) or ()) == 32
    with pytest.raises(IllegalArgumentError, match="33 attributes"):
        merge_attributes(full, {"new": "x"})
    large = dict.fromkeys("abcd", "é" * 511 + "x")
    assert merge_attributes(None, large) == large
    with pytest.raises(IllegalArgumentError, match="4,097 bytes"):
        merge_attributes(large, {"e": ""})


def test_a_status_is_a_line_of_64_characters() -> None:
    assert check_status("available") == "available"
    assert check_status("A\u0308" * 64) == "\u00c4" * 64
    for refused in ("", "a" * 65, "a\nb", "\u202e", "\ud800", "\U000e0067"):
        with pytest.raises(IllegalArgumentError, match="status"):
            check_status(refused)


def test_names_that_only_the_backend_may_set() -> None:
    assert not_for_clients(["role", "team"], None) == ()
    assert not_for_clients(["role", "team"], ["team"]) == ("role",)
    assert not_for_clients(["role"], []) == ("role",)
    assert not_for_clients([], []) == ()
