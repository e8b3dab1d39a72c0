"""What of the contract takes long in process: a pass of the reaper is one call of Lua in Python for each partition."""

from __future__ import annotations

import pytest

LONG_IN_PROCESS = {
    "test_a_random_life_keeps_every_promise",
    "test_s2_open_ids_are_kept_ten_minutes_after_the_end",
    "test_an_ended_session_can_be_looked_at_for_a_day",
    "test_s17_a_full_stream_drops_updates_before_all_else_and_ends_last",
    "test_a_record_of_somebody_offline_is_kept_and_then_forgotten",
    "test_a_living_nodes_sessions_cost_nothing_and_stay",
}
"""Cases that let much time pass. `make test` runs them on a real Redis, `make soak` in process too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in LONG_IN_PROCESS and "::TestInProcess::" in item.nodeid:
            item.add_marker(pytest.mark.soak)
