"""What comments, docstrings and scenarios cite is published: each rule, each promise, each page."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs" / "explanation" / "rules.md"
CODE = {".py", ".js", ".mjs", ".ts", ".tsx", ".lua", ".json", ".toml", ".yaml", ".yml", ".html", ".css", ".sh"}
# Data of third parties, files that only a package manager reads, and a test whose pages are made up.
NOT_OURS = ("requirements/", "benchmarks/results/", "browser/package-lock.json", "tests/scripts/test_docs_generate.py")


@cache
def _files() -> tuple[tuple[str, str], ...]:
    """Path and text of each file of code that git knows, except this one."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [path for path in listed.splitlines() if Path(path).suffix in CODE and not path.startswith(NOT_OURS)]
    paths = [path for path in paths if path != "tests/docs/test_citations.py" and (ROOT / path).is_file()]
    return tuple((path, (ROOT / path).read_text(encoding="utf-8")) for path in paths)


def _cited(pattern: str) -> Iterator[tuple[str, str]]:
    """Path and match, for each match in a file of code."""
    for path, text in _files():
        for found in re.finditer(pattern, text):
            yield path, found[1]


def test_every_rule_that_is_cited_is_published() -> None:
    published = re.findall(r"^### (S\d+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)
    assert published == [f"S{number}" for number in range(1, len(published) + 1)]
    cited = list(_cited(r"(?<![\w#.%/-])(S[1-9]\d?)(?![\w-])"))
    assert len(cited) > 200
    assert not [(path, rule) for path, rule in cited if rule not in published]


def test_every_promise_that_is_cited_is_published() -> None:
    rows = tomllib.loads((ROOT / "scripts" / "docs" / "promises.toml").read_text(encoding="utf-8"))["promise"]
    published = {str(row["number"]) for row in rows}
    cited = list(_cited(r"\b[Pp]romises? (\d+)\b"))
    assert len(cited) > 20
    assert not [(path, number) for path, number in cited if number not in published]
    in_rules = set(re.findall(r"^\| (\d+) \| \*\*", RULES.read_text(encoding="utf-8"), re.MULTILINE))
    assert in_rules == published


def test_every_page_that_is_cited_exists() -> None:
    pages = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")]
    for folder in ("docs", "tests", "deploy", "examples", "browser", "benchmarks"):
        found = (path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.md"))
        pages += [page for page in found if "node_modules" not in page]
    missing = []
    for path, page in _cited(r"(?<![\w*<{/\\-])((?:[\w-]+/)*[\w-]+\.md)\b"):
        if not any(f"/{known}".endswith(f"/{page}") for known in pages):
            missing.append((path, page))
    assert not missing


def test_nothing_cites_what_is_not_published() -> None:
    """Plans and issues are not in the repository: a reader could not look them up."""
    assert not list(_cited(r"\b((?:issue|Issue) \d+|the (?:semantics|behaviour) (?:of|says)|running\.md|style\.md)\b"))
