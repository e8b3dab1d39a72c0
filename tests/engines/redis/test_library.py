"""The Lua library is one text, whose name says what is in it (S21)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from importlib import resources

from greenroom.engines.redis.arguments import REQUESTS
from greenroom.engines.redis.library import LIBRARY_VERSION, library


def test_the_name_says_version_and_content() -> None:
    name, code = library()
    head, second, text = code.split("\n", 2)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    assert name == f"greenroom_{LIBRARY_VERSION}_{digest}"
    assert (head, second) == (f"#!lua name={name}", f"local LIBRARY = '{name}'")


def test_every_shipped_file_is_in_it_once_after_the_constants() -> None:
    code = library().code
    files = list((resources.files("greenroom.engines.redis") / "lua").iterdir())
    assert len(files) > 3
    for file in files:
        assert code.count(file.read_text(encoding="utf-8")) == 1, file.name
        is_first = file.name == "00_globals.lua"
        assert is_first != (code.index("local REQUESTS = {") < code.index(file.read_text(encoding="utf-8")))


def test_what_comes_from_python_is_a_whole_number_used_and_defined_by_no_file_again() -> None:
    code = library().code
    constants = dict(re.findall(r"^local ([A-Z_]+) = (-?\d+)$", code.partition("local REQUESTS")[0], re.MULTILINE))
    assert len(constants) > 25
    words = Counter(re.findall(r"\w+", code))
    defined = Counter(re.findall(r"\blocal ([A-Z_]+) = ", code))
    assert {name for name in constants if words[name] == 1} == set()
    assert {name for name in constants if defined[name] > 1} == set()
    assert constants["LEASE_MS"] == "10000"


def test_every_request_that_comes_as_texts_has_its_function() -> None:
    code = library().code
    for function in REQUESTS:
        assert re.search(rf"\b{function}\b", code.partition("local REQUESTS")[2].partition("\n}\n")[2]), function
