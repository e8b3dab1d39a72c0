"""What is said of a wrong value: which field, what was given, what is allowed; never the text that was given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from greenroom.validation import explain, no_such_field


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of `Body`."""

    display_name: str = ""


class Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """One field of each kind."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=5)]
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    ratio: Annotated[float, msgspec.Meta(gt=0)] | None = None
    mode: Literal["off", "on"] = "off"
    ids: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    device: Device = Device()
    is_new: bool = False


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, "The field name is missing from the body."),
        ({"name": "a", "cuont": 1}, "The body has no field cuont. Did you mean count?"),
        ({"name": "a", "device": {"displayname": ""}},
         "The body has no field device.displayname. Did you mean displayName?"),
        ({"name": "secret"},
         "The field name of the body is a text of 6 characters. It must be text of 1 to 5 characters."),
        ({"name": 5}, "The field name of the body is 5. It must be text of 1 to 5 characters."),
        ({"name": "a", "count": 0}, "The field count of the body is 0. It must be a whole number from 1 to 1,000."),
        ({"name": "a", "count": 10**50},
         "The field count of the body is a very large number. It must be a whole number from 1 to 1,000."),
        ({"name": "a", "ratio": -0.5}, "The field ratio of the body is -0.5. It must be a number above 0 or null."),
        ({"name": "a", "mode": "maybe"}, 'The field mode of the body is "maybe". It must be "off" or "on".'),
        ({"name": "a", "ids": ["1", "2", "3"]},
         "The field ids of the body is a list of 3 items. It must be a list of at most 2 items."),
        ({"name": "a", "ids": ["1", None]}, "The field ids[1] of the body is null. It must be text."),
        ({"name": "a", "isNew": 1}, "The field isNew of the body is 1. It must be true or false."),
        ({"name": "a", "device": []}, "The field device of the body is a list of 0 items. It must be an object."),
        ([], "The body is a list of 0 items. It must be an object."),
    ],
)  # fmt: skip
def test_words(sent: Any, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(sent, Body)
    assert explain(refused.value, sent, Body, "body") == words


def test_where_nothing_is_alike_all_that_there_is_is_named() -> None:
    assert no_such_field("xyz", "xyz", ["wait", "cursor"], "query") == (
        "The query has no field xyz. Allowed: cursor, wait."
    )
    assert no_such_field("xyz", "xyz", [], "query") == "The query has no field xyz."
