"""Each guard of ownership is needed, and together they suffice (ownership.md; S7)."""

from __future__ import annotations

import pytest

from tests.support.ownership_model import Guards, World, search, steps


@pytest.mark.parametrize("guard", ["generation", "lease", "self_fence"])
def test_without_one_guard_the_model_breaks_within_five_steps(guard: str) -> None:
    found = search(Guards(**{guard: False}), depth=5)
    assert found.verdict, f"no counter-example without {guard}: the guard, or the model, is idle"
    assert 1 <= len(found.trace) <= 5, found.trace


@pytest.mark.slow
def test_with_all_guards_nothing_breaks_in_any_order() -> None:
    found = search(Guards(), depth=8)
    assert not found.verdict, "\n".join((found.verdict, *found.trace))
    assert found.states > 50_000


@pytest.mark.soak
def test_with_all_guards_nothing_breaks_two_steps_deeper() -> None:
    found = search(Guards(), depth=10)
    assert not found.verdict, "\n".join((found.verdict, *found.trace))


@pytest.mark.slow
def test_every_kind_of_step_is_reached() -> None:
    """A model that never pauses or never lapses would prove nothing."""
    seen: set[str] = set()
    frontier = {World()}
    for _ in range(6):
        following: set[World] = set()
        for world in frontier:
            for text, after in steps(world, Guards()):
                seen.add("".join(letter for letter in text if not letter.isdigit()))
                following.add(after)
        frontier = following
    for wanted in (
        "client attaches", "goes silent", "sees its connection end", "sends an update", "is paused", "crashes",
        "is cut off", "fences itself", "wakes up", "starts again", "lapses", "reaches the engine again",
        "takes its session back", "drops what it lost", "the reaper detaches", "is refused", "is taken",
    ):  # fmt: skip
        assert any(wanted in text for text in seen), wanted
