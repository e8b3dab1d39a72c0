"""From bytes to structs: whatever comes, it is a struct or a refusal in words, never another error and never slow."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from greenroom.server.http.decoding import MAX_FIELDS, convert, decode_body, decode_fields
from greenroom.server.http.problems import ProblemError
from greenroom.server.http.routes import Body, Nothing


class Thing(msgspec.Struct, frozen=True, rename="camel"):
    """One field of each kind."""

    name: str | None = None
    max_size: Annotated[int, Meta(ge=0, le=10**6)] | None = None
    share: float | None = None
    loud: bool | None = None
    tags: tuple[str, ...] = ()


def refusal(function: Any, *arguments: Any) -> str:
    """The words of the 400 that it raises."""
    with pytest.raises(ProblemError) as caught:
        function(*arguments)
    assert (caught.value.problem.status, caught.value.problem.code) == (400, 90)
    return caught.value.problem.description


def check(function: Any, *arguments: Any) -> None:
    """It gives a thing, or a 400 that can be sent."""
    try:
        found = function(*arguments)
    except ProblemError as error:
        status, body = error.problem.status, error.problem.body()
    else:
        status, body = 400, msgspec.json.encode(found)
    assert (status, json.loads(body) is None) == (400, False)


def test_fields_by_their_names_on_the_wire() -> None:
    assert decode_fields("name=a&maxSize=5&share=0.5&loud=true&tags=x&tags=y&other=z", Thing, "query") == Thing(
        "a", 5, 0.5, True, ("x", "y")
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Thing()),
        ("&&", Thing()),
        ("name", Thing(name="")),
        ("name=", Thing(name="")),
        ("maxSize=", Thing()),
        ("loud=", Thing()),
        ("name=a+b%2Bc", Thing(name="a b+c")),
        ("name=a=b", Thing(name="a=b")),
        ("name=%F0%9F%99%82", Thing(name="🙂")),
        ("name=1", Thing(name="1")),
        ("tags=", Thing(tags=("",))),
        ("loud=false", Thing(loud=False)),
        ("share=1", Thing(share=1.0)),
        ("unknown=%zz".replace("%zz", "x"), Thing()),
    ],
)
def test_fields_that_are_taken(text: str, wanted: Thing) -> None:
    assert decode_fields(text, Thing, "query") == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maxSize=1.0", "maxSize"),
        ("maxSize=1e3", "maxSize"),
        ("maxSize=+1", "maxSize"),
        ("maxSize=01", "maxSize"),
        ("maxSize=-1", "maxSize"),
        ("maxSize=1000001", "maxSize"),
        ("maxSize=" + "9" * 5_000, "maxSize"),
        ("share=nan", "share"),
        ("share=1e5", "share"),
        ("loud=1", "loud"),
        ("loud=True", "loud"),
        ("name=a&name=b", "twice"),
        ("name=%", "percent"),
        ("name=%g0", "percent"),
        ("unknown=%zz", "percent"),
        ("name=%ff", "UTF-8"),
        ("name=%ed%a0%80", "UTF-8"),
        ("&".join(["a=1"] * (MAX_FIELDS + 1)), "more than"),
    ],
)
def test_fields_that_are_refused_in_words(text: str, words: str) -> None:
    assert words in refusal(decode_fields, text, Thing, "query")


def test_the_words_name_the_field_and_never_the_value() -> None:
    words = refusal(decode_body, b'{"maxSize": "canary"}', Body.JSON, Thing)
    assert words == (
        "The field maxSize of the body is a text of 6 characters."
        " It must be a whole number from 0 to 1,000,000 or null."
    )
    assert "canary" not in refusal(decode_fields, "maxSize=canary", Thing, "form")
    assert refusal(decode_body, b"[]", Body.JSON, Thing) == "The body is a list of 0 items. It must be an object."


def test_the_words_for_what_is_missing() -> None:
    class Needy(msgspec.Struct):
        """Wants something."""

        name: str

    assert refusal(decode_body, b"{}", Body.JSON, Needy) == "The field name is missing from the body."
    assert refusal(decode_fields, "a=b", Needy, "query") == "The field name is missing from the query."


def test_nothing_is_nothing_whatever_came() -> None:
    assert convert({"a": 1}, Nothing, "path") == Nothing()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_struct_or_a_refusal(raw: bytes) -> None:
    for form in Body:
        check(decode_body, raw, form, Thing)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["name", "maxSize", "share", "loud", "tags", "__proto__", ""]), _JSON))
def test_any_json_is_a_struct_or_a_refusal(value: dict[str, Any]) -> None:
    check(decode_body, json.dumps(value).encode("utf-8", "surrogatepass"), Body.JSON, Thing)


@given(st.text(alphabet="ab=&%+;0123456789fFé\x00\ud800", max_size=60))
def test_any_query_is_a_struct_or_a_refusal(text: str) -> None:
    check(decode_fields, text, Thing, "query")


HOSTILE = {
    "deep arrays": b"[" * 16_384,
    "deep objects": b'{"a":' * 3_200,
    "many members": json.dumps({str(n): n for n in range(1_500)}).encode(),
    "one long number": b'{"maxSize":' + b"9" * 16_000 + b"}",
    "one long fraction": b'{"share":0.' + b"9" * 16_000 + b"}",
    "escapes": b'{"name":"' + b"\\u00e9" * 2_700 + b'"}',
    "backslashes": b'{"name":"' + b"\\\\" * 8_000 + b'"}',
    "percent signs": b"name=" + b"%41" * 5_400,
    "ampersands": b"&" * 16_384,
    "equals signs": b"=" * 16_384,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_16_kib_of_anything_take_no_time_to_speak_of(name: str) -> None:
    def once() -> float:
        began = time.thread_time()
        for form in Body:
            try:
                decode_body(HOSTILE[name], form, Thing)
            except ProblemError:
                pass
        return time.thread_time() - began

    # Processor time, the best of five: what others on the machine do is not counted. Ten times what it takes, and far
    # less than a look at each pair of bytes.
    assert min(once() for _ in range(5)) < 0.05
