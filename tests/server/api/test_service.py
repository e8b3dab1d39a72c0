"""The server API for the service itself."""

from __future__ import annotations

from tests.server.harness import running_service
from tests.server.scraping import api_token


async def test_the_service_says_how_it_is() -> None:
    async with running_service() as running:
        app = await running.new_application()
        headers = {"Authorization": "Bearer " + await api_token(running, app)}
        async with running.http.get(running.url + "/v1/service", headers=headers) as reply:
            found = await reply.json()
        assert found["node"]["name"] == running.service.node.name
        assert (found["node"]["state"], found["node"]["notReady"], found["otherNodes"]) == ("acting", None, [])
        assert [bound["cause"] for bound in found["bounds"]][:2] == ["closed", "reset"]
