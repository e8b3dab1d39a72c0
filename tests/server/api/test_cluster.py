"""The operators' API about the cluster: nodes, a drain, the doctor, a session's history."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.harness import RunningService, running_service
from tests.support.patience import until


async def ask(running: RunningService, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {running.service.admin_token}"}
    async with running.http.request(method, f"{running.url}/admin/v1{path}", json=body, headers=headers) as reply:
        return reply.status, await reply.json()


async def test_nodes_are_listed_with_what_they_say_of_themselves() -> None:
    async with running_service() as running, running.connect() as client:
        app = await running.new_application()
        await client.open(app.token("anna"))
        status, found = await ask(running, "GET", "/nodes")
        (node,) = found["items"]
        assert (status, found["asked"], node["node"]) == (200, running.service.node.name, running.service.node.name)
        assert (node["sessions"], node["report"]["sessions"], node["report"]["state"]) == (1, 1, "acting")
        assert (node["ready"], node["draining"], node["leaseLeft"] > 0) == (True, False, True)


async def test_a_drain_of_a_node_that_is_not_there_is_refused_and_of_this_one_begins() -> None:
    async with running_service() as running:
        status, body = await ask(running, "POST", "/drain", {"node": "nobody"})
        assert (status, "There is no node nobody" in body["error_description"]) == (404, True)
        assert (await ask(running, "POST", "/drain", {"rate": 0}))[0] == 400
        assert running.service.cluster.drain_rate is None
        status, body = await ask(running, "POST", "/drain", {"rate": 2.5})
        assert (status, body) == (202, {"node": running.service.node.name, "sessions": 0})
        await until(lambda: running.service.cluster.drain_rate == 2.5)
        assert running.service.node.not_ready() is not None


@pytest.mark.slow
async def test_the_doctor_finds_a_session_without_a_connection_and_repairs_it_when_it_is_asked_to() -> None:
    async with running_service() as running, running.connect() as client:
        app = await running.new_application()
        opened = await client.open(app.token("anna"))
        status, well = await ask(running, "GET", "/doctor")
        assert (status, well["sessions"], well["sockets"], well["silent"]) == (200, 1, 1, [])
        assert [one["code"] for one in well["findings"] if one["severity"] == "problem"] == []
        held = running.service.hub.sessions.pop(opened.id)
        try:
            _, ill = await ask(running, "GET", "/doctor")
            (finding,) = [one for one in ill["findings"] if opened.id in one["subject"]]
            assert (finding["severity"], finding["repair"] is not None, ill["repaired"]) == ("problem", True, [])
            _, done = await ask(running, "POST", "/doctor/repair")
            assert len(done["repaired"]) == 1
        finally:
            running.service.hub.sessions[opened.id] = held


async def test_a_session_s_history_is_there_after_its_end() -> None:
    async with running_service() as running, running.connect() as client:
        app = await running.new_application()
        opened = await client.open(app.token("anna"))
        await client.call("session.close")
        status, life = await ask(running, "GET", f"/doctor/sessions/{opened.id}")
        assert (status, life["participantId"], life["state"]) == (200, app.participant_id("anna"), "closed")
        assert [step["what"] for step in life["steps"]] == ["opened", "ended"]
        assert (await ask(running, "GET", "/doctor/sessions/p1-unknown"))[0] == 404
