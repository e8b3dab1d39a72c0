"""Sessions against the real service: real sockets, a real database file."""

from __future__ import annotations

from tests.server.harness import running_service


async def test_open_update_get_ping_close() -> None:
    async with running_service() as house:
        app = await house.new_application()
        async with house.connect() as client:
            opened = await client.open(app.token("anna"), participant={"name": "Anna"})
            assert opened.participant["name"] == "Anna"
            assert opened.participant["externalId"] == "anna"
            assert opened.participant["presence"] == "online"
            assert opened.generation == 1
            assert await client.call("ping") == {}
            result = await client.call("session.updateParticipantInfo", updateId="u1", name="Anna B.")
            assert result["participant"]["name"] == "Anna B."
            assert result["participant"]["revision"] == opened.participant["revision"] + 1
            got = await client.call("session.getParticipant")
            assert got == result
            assert await client.call("session.close") == {}
            assert await client.closed() == 1000
        record = await house.session(opened.id)
        assert record.end_reason == "closed"


async def test_a_session_outlives_its_connection_and_the_service() -> None:
    async with running_service() as house:
        app = await house.new_application()
        async with house.connect() as client:
            opened = await client.open(app.token("anna"))
            await client.call("ping")
        await house.until(lambda: not house.service.hub.sessions)
        async with house.connect() as client:
            assert (await client.resume(opened)).generation == 2
            await house.restart()
        async with house.connect() as client:
            assert (await client.resume(opened)).generation == 3
