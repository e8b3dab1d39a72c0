"""The page of `make bench`, from made-up results."""

from __future__ import annotations

from benchmarks import page, results, targets
from tests.benchmarks.made_up import LONGEST, found_of, room_runs


def test_the_page_shows_rooms_with_their_peers() -> None:
    runs = room_runs()
    text = page.text_of({**found_of(results._figures(runs, LONGEST)), "extra": LONGEST}, {})
    assert "| socket.io | 101.0 | 101.0 |" in text
    assert "`room_end` 12.5, `room_join` 1.0" in text
    drawn = page.pages({**found_of(results._figures(runs, LONGEST)), "extra": LONGEST})
    assert {f"explanation/plots/rooms-{name}.svg" for name in ("join", "message", "functions")} <= drawn.keys()


def test_the_page_says_what_was_missed_and_why() -> None:
    missed = {}
    for goal in targets.TARGETS:
        bad = 0.5 if goal.at_least else 2
        missed[goal.figure] = goal.bound * bad
        if goal.compiled is not None:
            missed[f"{goal.figure}_compiled"] = goal.compiled * bad
    found = {
        "form": "quick", "date": "2026-01-01", "seconds": 60, "figures": missed, "machine": {"load before": "3.0 1 1"},
        "failed": {"echo": "StartError: no"}, "leftOut": ["churn"], "runs": [], "extra": {},
        "guard": {"slower": {"open_64_EdDSA_ratio": "3 was 2"}, "tolerance": 1.25},
    }  # fmt: skip
    text = page.text_of(found, {})
    assert text.count("**missed** by") == len(missed)
    for said in (
        "not quiet",
        "echo failed",
        "Left out",
        "short form",
        "3 was 2",
        *{goal.why for goal in targets.TARGETS},
    ):
        assert said in text, said
