"""Writes the pages of docs/ that are made from the code, or checks that they are up to date.

usage: python scripts/docs_generate.py [--check] [NAME...]

Each module `scripts/docs/<name>.py` has `generate() -> dict[str, str]`: paths relative to docs/, and what belongs
there. Pages are committed, so that they can be read without building anything; `make check` runs this with `--check`
and fails when one is out of date. With names, only those generators run.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATORS = ROOT / "scripts" / "docs"
DIFF_LINES = 40  # of each page that is out of date: enough to see what changed


class GeneratorError(Exception):
    """A generator that does not keep to the convention."""


def generator_names() -> list[str]:
    """The names of all generators, in order."""
    return sorted(path.stem for path in GENERATORS.glob("*.py") if not path.stem.startswith("_"))


def pages_of(name: str) -> dict[str, str]:
    """What the generator `name` makes: page texts by path relative to docs/."""
    try:
        module = importlib.import_module(f"scripts.docs.{name}")
    except ModuleNotFoundError as error:
        if error.name in ("scripts.docs", f"scripts.docs.{name}"):
            raise GeneratorError(f"there is no scripts/docs/{name}.py") from error
        raise
    if not hasattr(module, "generate"):
        raise GeneratorError(f"scripts/docs/{name}.py has no generate() -> dict[str, str]")
    pages: dict[str, str] = module.generate()
    for page in pages:
        if Path(page).is_absolute() or ".." in Path(page).parts:
            raise GeneratorError(f"scripts/docs/{name}.py wants to write {page!r}, which is outside docs/")
    return pages


def all_pages(names: Iterable[str]) -> dict[str, str]:
    """The pages of all `names`. Raises GeneratorError if two make the same page."""
    pages: dict[str, str] = {}
    for name in names:
        for page, text in pages_of(name).items():
            if page in pages:
                raise GeneratorError(f"scripts/docs/{name}.py makes {page!r}, as another generator does")
            pages[page] = text if text.endswith("\n") else text + "\n"
    return pages


def read_or_empty(path: Path) -> str:
    """The text of `path`, or nothing if it does not exist."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def stale_pages(pages: Mapping[str, str], docs: Path) -> list[str]:
    """Of `pages`, those whose file in `docs` says something else or is missing."""
    return [page for page, text in sorted(pages.items()) if read_or_empty(docs / page) != text]


def write_pages(pages: Mapping[str, str], docs: Path) -> list[str]:
    """Write what changed; files that are up to date are not touched. The pages written."""
    stale = stale_pages(pages, docs)
    for page in stale:
        path = docs / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[page], encoding="utf-8")
    return stale


def show_difference(page: str, committed: str, generated: str) -> None:
    """Print how `committed` differs from `generated`, the first lines of it."""
    difference = difflib.unified_diff(
        committed.splitlines(), generated.splitlines(), f"docs/{page}", "as generated", lineterm=""
    )
    for line in islice(difference, DIFF_LINES):
        print("  " + line)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Write or check the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    parser.add_argument("names", nargs="*", help="generators to run (all)")
    options = parser.parse_args(arguments)
    docs = ROOT / "docs"
    sys.path.insert(0, str(ROOT))
    try:
        pages = all_pages(options.names or generator_names())
    except GeneratorError as error:
        print(f"docs_generate: {error}", file=sys.stderr)
        return 2
    if not options.check:
        for page in write_pages(pages, docs):
            print(f"wrote docs/{page}")
        return 0
    stale = stale_pages(pages, docs)
    for page in stale:
        print(f"docs/{page} is out of date; 'make docs-pages' writes it")
        show_difference(page, read_or_empty(docs / page), pages[page])
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
