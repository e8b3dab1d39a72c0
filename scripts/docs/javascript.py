"""docs/reference/javascript-api.md: every export of `@greenroom/client`, from its type declarations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DECLARATIONS = Path(__file__).resolve().parents[2] / "browser" / "src" / "index.d.ts"

_HEAD = """# JavaScript API

Made from the type declarations of `@greenroom/client`, which are part of the package. [The browser SDK](browser-sdk.md)
is the guide to it. Times are seconds unless a name says otherwise, instants integer Unix milliseconds.
"""

# A comment in front of a declaration, and the declaration up to the bracket or the semicolon that ends it.
_COMMENT = re.compile(r"\s*/\*\*(.*?)\*/", re.DOTALL)
_SPACE = re.compile(r"\s*(?://[^\n]*\n\s*)*")
_HIDDEN = ("private constructor()", "[Symbol.asyncIterator]", "next(", "return(")
_SECTIONS = {
    "The main object": ("Greenroom", "GreenroomOptions", "Refresh"),
    "The session": ("SessionService", "OpenOptions", "SessionState", "SessionEnd", "SessionReopened"),
    "Participants": ("ParticipantsService", "Watch", "Who"),
    "Models": ("Participant", "ParticipantInfo", "Presence", "Device"),
    "Errors": ("GreenroomError", "errors"),
}


@dataclass(frozen=True)
class Declaration:
    """One export or one member. comment: its text, "" where there is none; code: without the comment."""

    comment: str
    code: str

    @property
    def name(self) -> str:
        """What it declares."""
        words = r"(?:(?:export|declare|abstract|readonly|class|interface|type|const|function)\s+)*"
        found = re.match(words + r"([\w$]+)", self.code)
        return found[1] if found else ""

    @property
    def body(self) -> str | None:
        """What stands between the brackets of a class; None of anything else."""
        found = re.match(r"export declare class [^{]*\{(.*)\}$", self.code, re.DOTALL)
        return found[1] if found else None


def declarations(text: str) -> Iterator[Declaration]:
    """The declarations of a file, or of the body of a class, in order."""
    at = 0
    while True:
        comment = ""
        while (found := _COMMENT.match(text, at)) is not None:
            comment = " ".join(line.strip().removeprefix("*").strip() for line in found[1].splitlines()).strip()
            at = found.end()
            # The comment of the file itself stands apart from what follows.
            if text[at : at + 2] == "\n\n":
                comment = ""
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing at all, too
        if at >= len(text):
            return
        end = _end(text, at)
        yield Declaration(comment, text[at:end].strip().removesuffix(";"))
        at = end


def _end(text: str, start: int) -> int:
    """Where the declaration that begins at `start` is over."""
    depth, block = 0, re.match(r"export (?:declare )?(?:class|interface)\b", text[start:]) is not None
    for at in range(start, len(text)):
        letter = text[at]
        depth += (letter in "{([") - (letter in "})]")
        if depth == 0 and (letter == ";" or (block and letter == "}")):
            return at + 1
    raise ValueError(f"a declaration without an end: {text[start : start + 60]!r}")


def generate() -> dict[str, str]:
    """The page."""
    exported = [one for one in declarations(DECLARATIONS.read_text(encoding="utf-8")) if one.code.startswith("export ")]
    by_name = {one.name: one for one in exported}
    lines = [_HEAD]
    for title, names in _SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _export(by_name.pop(name)) if name in by_name else ()
    if by_name:
        lines += ["## More types", ""]
        for one in by_name.values():
            lines += _export(one)
    return {"reference/javascript-api.md": "\n".join(lines).rstrip() + "\n"}


def _export(one: Declaration) -> Iterator[str]:
    yield from (f"### {one.name}", "")
    if one.comment:
        yield from (_prose(one.comment), "")
    code = one.code if one.body is None else one.code[: one.code.index("{")].rstrip()
    yield from ("```ts", re.sub(r"^export (?:declare )?", "", code), "```", "")
    for member in declarations(one.body or ""):
        if not member.code.startswith(_HIDDEN):
            yield from _member(one.name, member)


def _member(owner: str, member: Declaration) -> Iterator[str]:
    name = "" if member.name == "constructor" else f".{member.name}"
    title = f"new {owner}" if not name else owner[:1].lower() + owner[1:] + name
    yield from (f"#### {title}", "", "```ts", _outdented(member.code), "```", "")
    if member.comment:
        yield from (_prose(member.comment), "")


def _outdented(code: str) -> str:
    """A member that goes over several lines, as if it stood at the margin."""
    return "\n".join(line.removeprefix("  ") for line in code.splitlines())


def _prose(comment: str) -> str:
    """The comment as Markdown: pages of docs/ that it names become links."""
    return re.sub(r"docs/reference/([\w-]+)\.md", r"[\1](\1.md)", comment)
