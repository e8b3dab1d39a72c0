"""``greenroom rooms``: which rooms are open, who is in them."""

from __future__ import annotations

import json

from greenroom.cli.exits import Exit
from tests.cli.running import Ran, as_backend, following
from tests.server.harness import running_service


async def test_rooms() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()

        async def rooms(*arguments: str) -> Ran:
            return await as_backend(running, tenant, "rooms", *arguments)

        assert (await rooms("list")).out == "No room is open.\n"
        assert (await rooms("show", "stand/up")).code == Exit.NOT_FOUND
        opened = await client.open(tenant.token("anna"), participant={"name": "[bold]Anna[/]"})
        await client.call("rooms.join", room="stand/up")
        (listed,) = (await rooms("list", "--search", "STAND", "--json")).json
        assert (listed["name"], listed["count"]) == ("stand/up", 1)
        assert "stand/up" in (await rooms("list", "--participant", "ext:anna")).out
        assert (await rooms("list", "--participant", "ext:ben")).out == "No room is open.\n"
        assert "[bold]Anna[/]" in (await rooms("show", "stand/up")).out
        (member,) = (await rooms("show", "stand/up", "--json")).json["members"]
        assert (member["id"], member["externalId"]) == (opened.participant["id"], "anna")
        assert (await rooms("send", "stand/up", '{"n": 1}', "--to", "ext:anna")).code == 0
        assert (await client.notified("rooms.message"))["message"] == {"n": 1}
        sent = (await rooms("send", "stand/up", "not JSON", "--to", opened.participant["id"], "--json")).json
        received = await client.notified("rooms.message")
        assert (received["message"], received["number"]) == ("not JSON", sent["number"])
        assert (await rooms("send", "stand/up", "1", "--to", "anna")).code == Exit.USAGE
        assert (await rooms("send", "stand/up", "x" * 16_382)).code == 0  # with quotation marks 16 KiB
        assert len((await client.notified("rooms.message"))["message"]) == 16_382
        assert (await rooms("send", "stand/up", "x" * 16_383)).code == Exit.USAGE
        assert "1 session was removed." in (await rooms("kick", "stand/up", "ext:anna", "--for", "1h")).out
        assert (await client.notified("rooms.left"))["reason"] == "kicked"
        assert (await rooms("kick", "stand/up", "ext:anna", "--json")).json["sessions"] == []
        await client.call("rooms.join", room="other")
        assert "Its members leave." in (await rooms("end", "other")).out
        assert (await client.notified("rooms.left"))["reason"] == "ended"
        assert (await rooms("end", "nothing")).out == "It is not open.\n"
        assert (await rooms("end", "nothing", "--json")).json == {"state": "absent"}


async def test_a_room_is_watched() -> None:
    async with running_service() as running, running.connect() as client, running.connect() as other:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        await other.open(tenant.token("ben"))
        await client.call("rooms.join", room="r")
        async with following(running, tenant, "rooms", "watch", "r", "--json") as room:
            first = json.loads(await room.line())
            assert (first["what"], first["externalId"], first["name"]) == ("is here", "anna", "Anna")
            await other.call("rooms.join", room="elsewhere")
            await other.call("rooms.join", room="r")
            second = json.loads(await room.line())
            assert (second["what"], second["externalId"]) == ("joined", "ben")
            await other.call("rooms.leave", room="r")
            third = json.loads(await room.line())
            assert (third["what"], third["reason"]) == ("left", "left")


async def test_people_read_who_is_there_on_one_line() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        opened = await client.open(tenant.token("anna"), participant={"name": "Anna B."})
        await client.call("rooms.join", room="r")
        async with following(running, tenant, "rooms", "watch", "r") as room:
            assert (await room.line()).endswith(f"  is here Anna B. anna {opened.participant['id']}")
            await client.call("rooms.leave", room="r")
            assert (await room.line()).endswith(f"  left    Anna B. anna {opened.participant['id']}  (left)")


async def test_what_is_no_room_and_nobody() -> None:
    async with running_service() as running:
        tenant = await running.new_application()
        for verb in (("show", ""), ("end", ""), ("watch", ""), ("send", "", "1"), ("kick", "", "ext:anna")):
            ran = await as_backend(running, tenant, "rooms", *verb)
            assert (ran.code, ran.err) == (Exit.USAGE, "greenroom: An id or a name that was given is empty.\n"), verb
        nobody = await as_backend(running, tenant, "rooms", "kick", "r", "anna")
        assert (nobody.code, "An external id is written ext:anna" in nobody.err) == (Exit.USAGE, True)
