"""A server with TLS, and what of the contract takes long in process: a pass of the reaper is one call of Lua in Python
for each partition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.redis_server import Secured, secured

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
    "test_s2_how_a_session_ended_is_known_as_long_as_its_open_id_would_be",
    "test_promise_3_every_way_out_is_one_event",
    "test_s10_after_a_restart_every_session_has_its_grace",
    "test_last_seen_is_when_the_participant_was_last_there",
    "test_promise_4_a_dead_nodes_sessions_are_unreachable_within_12_s_and_ended_within_53",
    "test_participants_and_sessions_are_counted_by_presence",
    "test_events_are_replayed_by_time",
    "test_a_grace_ends_when_it_is_over_and_not_before",
    "test_r4_a_dead_node_leaves_its_members_unreachable_and_then_gone",
    "test_s17_events_older_than_72_hours_go_and_the_reader_hears_of_the_gap",
}
"""Cases that let much time pass. `make test` runs them on a real Redis, `make soak` in process too."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured(tmp_path_factory.mktemp("tls")) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in LONG_IN_PROCESS and "::TestInProcess::" in item.nodeid:
            item.add_marker(pytest.mark.soak)
