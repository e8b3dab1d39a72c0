"""The Lua library: the shipped files as one, under a name that says their version and content (S21)."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

LIBRARY_VERSION = 1
"""Raised when functions change what they take, answer or store. Libraries of two versions run side by side."""


class Library(NamedTuple):
    """name: also the prefix of its functions. code: what FUNCTION LOAD takes."""

    name: str
    code: str


@cache
def library() -> Library:
    """The library of this release. A changed file is a new name, so that no node ever runs another's functions."""
    folder = resources.files("greenroom.engines.redis") / "lua"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".lua")), key=lambda entry: entry.name)
    text = "\n".join(entry.read_text(encoding="utf-8") for entry in files)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"greenroom_{LIBRARY_VERSION}_{digest}"
    return Library(name, f"#!lua name={name}\nlocal LIBRARY = '{name}'\n{text}")
