"""What of the contract takes long in process: a pass of the reaper is one call of Lua in Python for each partition."""

from __future__ import annotations

import pytest

LONG_IN_PROCESS = {
    "test_a_random_life_keeps_every_promise",
    "test_s2_open_ids_are_kept_ten_minutes_after_the_end",
    "test_an_ended_session_can_be_looked_at_for_a_day",
    "test_s17_a_full_stream_drops_updates_before_all_else_and_ends_last",
    "test_a_record_of_someone_offline_is_kept_and_then_forgotten",
    "test_a_living_nodes_sessions_cost_nothing_and_stay",
    "test_r5_versions_only_grow_across_the_end_of_a_room",
    "test_a_random_life_in_rooms_keeps_every_promise",
    "test_r5_removals_are_remembered_for_ten_minutes",
    "test_a_room_outlasts_its_last_member_by_its_ttl",
    "test_an_empty_room_is_kept_for_a_minute_or_its_ttl",
    "test_promise_7_a_block_keeps_out_until_it_ends",
    "test_restrictions_are_kept_while_a_token_of_their_time_may_live",
    "test_coming_back_from_offline_is_published",
}
"""Cases that let much time pass. `make test` runs them on a real Redis, `make soak` in process too."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in LONG_IN_PROCESS and "::TestInProcess::" in item.nodeid:
            item.add_marker(pytest.mark.soak)
