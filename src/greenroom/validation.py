"""Error texts for an invalid value: which field, what was given, what is allowed.

msgspec says "Expected `float`, got `str` - at `$.wait`" and quotes neither the value nor the bounds of the type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import inspect

_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_PATH = re.compile(r" - at `(?:key` in `)?\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_MOST_SHOWN = 40
"""Characters of a value that are repeated. Text is repeated only where it is one of a few words that is wanted: what
stands in the wrong field may be a secret."""


def explain(error: msgspec.ValidationError, value: Any, kind: Any, where: str) -> str:
    """What to change, as a sentence. value: what was sent, as plain JSON data. kind: the type it should have had.
    where: "body", "query", "params", …"""
    text = str(error)
    found = _PATH.search(text)
    path = found.group(1) if found else ""
    given, expected = _at(value, inspect.type_info(kind), path)
    place = path.removeprefix(".")
    missing = _MISSING.match(text)
    if missing:
        return f"The field {_joined(place, missing.group(1))} is missing from the {where}."
    unknown = _UNKNOWN.match(text)
    if unknown:
        return no_such_field(_joined(place, unknown.group(1)), unknown.group(1), _fields_of(expected), where)
    name = f"The field {place} of the {where}" if place else f"The {where}"
    is_choice = isinstance(_choose(expected, inspect.LiteralType), inspect.LiteralType)
    shown = _kind_of(given) if isinstance(given, str) and not is_choice else _shown(given)
    return f"{name} is {shown}. It must be {_allowed(expected)}."


def no_such_field(place: str, name: str, known: Iterable[str], where: str) -> str:
    """The sentence for a field that there is not, with what was probably meant. place: `name` with its path."""
    names = sorted(known)
    folded = {re.sub(r"[^a-z0-9]", "", one.lower()): one for one in names}
    close = get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), folded, n=1, cutoff=0.6)
    text = f"The {where} has no field {_cut(place)}."
    if close:
        return f"{text} Did you mean {folded[close[0]]}?"
    return f"{text} Allowed: {', '.join(names)}." if names else text


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _at(value: Any, expected: inspect.Type, path: str) -> tuple[Any, inspect.Type]:
    """The value at the path of msgspec's error, and the type it should have."""
    for step in _STEP.finditer(path):
        name, index = step.groups()
        expected = _choose(expected, inspect.StructType if name else None)
        if name:
            value = value.get(name) if isinstance(value, dict) else None
            if isinstance(expected, inspect.StructType):
                fields = {field.encode_name: field.type for field in expected.fields}
                expected = fields.get(name, inspect.AnyType())
            continue
        value = value[int(index)] if isinstance(value, list | tuple) and index.isdigit() else None
        expected = _item_of(expected)
    return value, expected


def _choose(expected: inspect.Type, wanted: type[inspect.Type] | None) -> inspect.Type:
    """The member of a union that has parts."""
    expected = _plain(expected)
    if not isinstance(expected, inspect.UnionType):
        return expected
    members = [_plain(one) for one in expected.types]
    for one in members:
        if (wanted is None and isinstance(one, _LISTS)) or (wanted is not None and isinstance(one, wanted)):
            return one
    return expected


_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType, inspect.FrozenSetType)


def _item_of(expected: inspect.Type) -> inspect.Type:
    if isinstance(expected, inspect.DictType):
        return expected.value_type
    return getattr(expected, "item_type", inspect.AnyType())


def _plain(expected: inspect.Type) -> inspect.Type:
    return expected.type if isinstance(expected, inspect.Metadata) else expected


def _fields_of(expected: inspect.Type) -> list[str]:
    expected = _choose(expected, inspect.StructType)
    return [field.encode_name for field in expected.fields] if isinstance(expected, inspect.StructType) else []


def _allowed(expected: inspect.Type) -> str:
    expected = _plain(expected)
    if isinstance(expected, inspect.UnionType):
        kinds = [_allowed(one) for one in expected.types]
        return " or ".join(sorted(kinds, key=lambda kind: kind == "null"))
    if isinstance(expected, inspect.IntType):
        return "a whole number" + _bounds(expected)
    if isinstance(expected, inspect.FloatType):
        return "a number" + _bounds(expected)
    if isinstance(expected, inspect.StrType):
        return "text" + _sizes(expected, "characters")
    if isinstance(expected, inspect.BoolType):
        return "true or false"
    if isinstance(expected, inspect.NoneType):
        return "null"
    if isinstance(expected, inspect.LiteralType):
        return " or ".join(msgspec.json.encode(one).decode() for one in expected.values)
    if isinstance(expected, inspect.EnumType):
        return " or ".join(msgspec.json.encode(one).decode() for one in expected.cls)
    if isinstance(expected, _LISTS):
        return "a list" + _sizes(expected, "items")
    if isinstance(expected, inspect.StructType | inspect.DictType):
        return "an object"
    return "of another type"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low, high = kind.ge, kind.le
    words = [f"from {low:,}"] if low is not None else [f"above {kind.gt:,}"] if kind.gt is not None else []
    words += [f"to {high:,}"] if high is not None else [f"below {kind.lt:,}"] if kind.lt is not None else []
    return "".join(f" {word}" for word in words)


def _sizes(kind: Any, what: str) -> str:
    low, high = getattr(kind, "min_length", None), getattr(kind, "max_length", None)
    if getattr(kind, "pattern", None):
        return f" that matches {kind.pattern}"
    if low and high is not None:
        return f" of {low:,} to {high:,} {what}"
    if high is not None:
        return f" of at most {high:,} {what}"
    return f" of at least {low:,} {what}" if low else ""


def _shown(value: Any) -> str:
    """A value that is short, or what kind of value it is."""
    if isinstance(value, bool | None):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int | float):
        return _cut(str(value)) if abs(value) < 10**_MOST_SHOWN else "a very large number"
    if isinstance(value, str) and len(value) <= _MOST_SHOWN:
        return '"' + value.encode("utf-8", "replace").decode() + '"'
    return _kind_of(value)


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return f"a text of {len(value):,} characters"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value):,} items"
    return "null" if value is None else "a number"


def _cut(text: str) -> str:
    return text[:_MOST_SHOWN].encode("utf-8", "replace").decode()
