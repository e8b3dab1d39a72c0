"""What the doctor gathers and repairs, on an engine."""

from __future__ import annotations

from greenroom.server.cluster.doctor.examination import all_rosters, all_sessions, repair
from greenroom.server.cluster.doctor.findings import about_rooms
from greenroom.testing.engine_world import APP, EmbeddedWorld


async def test_rosters_of_all_rooms_agree_with_the_sessions_in_them() -> None:
    async with EmbeddedWorld() as w:
        anna, bob = await w.client("anna"), await w.client("bob")
        for room in ("standup", "lobby"):
            await anna.join(room)
        await bob.join("standup")
        sessions = await all_sessions(w.engine)
        rosters = await all_rosters(w.engine, sessions)
        assert {room: len(members) for (_, room), members in rosters.items()} == {"standup": 2, "lobby": 1}
        assert list(about_rooms(sessions, rosters)) == []
        del rosters[APP, "lobby"]
        (missing,) = about_rooms(sessions, rosters)
        (done,) = await repair(w.engine, [missing], grace=40.0)
        assert done == "Sessions and rosters were compared: 0 members were corrected."
