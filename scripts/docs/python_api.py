"""docs/reference/python-api.md: which names the page shows; their text is made from the docstrings when it is built."""

from __future__ import annotations

from collections.abc import Iterator

import greenroom
import greenroom.backend

# Called by the SDK's own runner alone; an app has no use for them.
INTERNAL: dict[str, tuple[str, ...]] = {"Watch": ("finish", "remove", "update")}
# What else is exported comes last, under "More"; `blocking` is a module with the same names.
SECTIONS = {
    "The main object": ("Greenroom",),
    "The session": ("SessionService", "SessionDelegate", "SessionState"),
    "Participants": ("ParticipantsService", "Watch"),
    "Models": ("Participant", "ParticipantInfo", "Presence", "Device", "ParticipantStatus", "ParticipantType"),
}

_HEAD = """# Python API

Made from the docstrings. [The Python SDK](python-sdk.md) is the guide to it. The package `greenroom` brings all of it.
Times are seconds, instants integer Unix milliseconds. Everything is typed, and `mypy --strict` passes on code that uses
it. `greenroom.blocking` has the same classes and methods for programs without an event loop.
"""


def generate() -> dict[str, str]:
    """The page."""
    left = [name for name in greenroom.__all__ if name != "blocking"]
    errors = [name for name in left if name.endswith("Error")]
    named = {name for names in SECTIONS.values() for name in names}
    more = [name for name in left if name not in named and name not in errors]
    lines = [_HEAD.rstrip()]
    for title, names in (*SECTIONS.items(), ("Errors", _by_depth(errors)), ("More", more)):
        shown = [name for name in names if name in left]
        if shown:
            lines += ["", f"## {title}", *(line for name in shown for line in _entry(name))]
    lines += ["", "## For backends", "", "`greenroom.backend`: [how to use it](../how-to/call-from-your-backend.md)."]
    lines += [line for name in greenroom.backend.__all__ for line in ("", f"::: greenroom.backend.{name}")]
    return {"reference/python-api.md": "\n".join(lines) + "\n"}


def _by_depth(errors: list[str]) -> list[str]:
    """The root first, then each family with its members."""

    def path(name: str) -> tuple[str, ...]:
        return tuple(base.__name__ for base in reversed(getattr(greenroom, name).__mro__) if base.__name__ in errors)

    return sorted(errors, key=path)


def _entry(name: str) -> Iterator[str]:
    yield from ("", f"::: greenroom.{name}")
    options = []
    if name in INTERNAL:
        options.append("filters: [" + ", ".join(['"!^_"', *(f'"!^{one}$"' for one in INTERNAL[name])]) + "]")
    if name in SECTIONS["Models"]:
        options.append("show_if_no_docstring: true")  # fields that speak for themselves
    if options:
        yield "    options:"
        yield from (f"      {option}" for option in options)
