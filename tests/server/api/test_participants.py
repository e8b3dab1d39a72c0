"""The server API for participants, on a real service."""

from __future__ import annotations

import pytest

from greenroom.tokens.scopes import PARTICIPANTS_READ, SESSIONS_READ
from tests.server.api_service import NOBODY, api_of, api_service
from tests.server.harness import RefusedError


async def test_what_cannot_be_an_id_is_refused_with_how_external_ids_are_written() -> None:
    """`participants block anna` blocked nobody, and said that it had."""
    async with api_service() as (_running, _tenant, api):
        for method, path, body in (
            ("GET", "/v1/participants/anna", None),
            ("PATCH", "/v1/participants/anna", {"name": "Anna"}),
            ("POST", "/v1/participants/anna/kick", {}),
            ("DELETE", "/v1/participants/anna", None),
            ("POST", "/v1/blocks", {"participantId": "anna"}),
            ("DELETE", "/v1/blocks/anna", None),
            ("POST", "/v1/tokens/revoke", {"participantId": "anna"}),
            ("GET", "/v1/sessions?participantId=anna", None),
        ):
            reply = await api.call(method, path, body)
            assert (reply.status, reply.body["error_reason"]) == (400, "Illegal_argument"), path
            assert "ext:anna" in reply.body["error_description"]


async def test_unknown_fields_of_a_query_and_of_a_body_are_refused_by_name() -> None:
    async with api_service() as (_running, _tenant, api):
        for method, path, body, meant in (
            ("GET", "/v1/participants?external_id=anna", None, "externalId"),
            ("GET", "/v1/events?waitt=5", None, "wait"),
            ("POST", "/v1/blocks", {"external_id": "anna"}, "externalId"),
            ("PATCH", "/v1/settings", {"max_watched": 5}, "maxWatched"),
            ("POST", "/v1/webhooks", {"url": "https://a.example", "event": []}, "events"),
        ):
            reply = await api.call(method, path, body)
            assert (reply.status, reply.body["error_reason"]) == (400, "Illegal_argument"), path
            assert f"Did you mean {meant}?" in reply.body["error_description"]


async def test_participants_are_listed_found_and_read() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        opened = await client.open(
            tenant.token("anna"), participant={"name": "Anna", "avatarUrl": "https://a.example/a"}
        )
        listed = await api.good("GET", "/v1/participants")
        assert listed["cursor"] is None
        (anna,) = listed["items"]
        assert anna == {
            "id": opened.participant["id"],
            "externalId": "anna",
            "name": "Anna",
            "avatarUrl": "https://a.example/a",
            "revision": anna["revision"],
            "version": anna["version"],
            "presence": "online",
            "sessions": 1,
            "lastSeen": anna["lastSeen"],
            "attributes": {},
            "status": "available",
        }
        assert (await api.good("GET", "/v1/participants", externalId="anna"))["items"] == [anna]
        assert (await api.good("GET", "/v1/participants", externalId="anna", presence="offline"))["items"] == []
        assert (await api.good("GET", "/v1/participants", externalId="nobody"))["items"] == []
        assert (await api.good("GET", "/v1/participants", presence=["online", "unreachable"]))["items"] == [anna]
        assert (await api.good("GET", "/v1/participants", presence="offline"))["items"] == []
        assert (await api.good("GET", "/v1/participants", search="aNN"))["items"] == [anna]
        assert (await api.good("GET", "/v1/participants", search="ann", presence="offline"))["items"] == []
        assert await api.refused("GET", "/v1/participants", search="") == (400, "Illegal_argument")
        by_id = await api.call("GET", f"/v1/participants/{anna['id']}")
        assert (by_id.body, by_id.headers["ETag"]) == (anna, f'"{anna["revision"]}"')
        assert await api.good("GET", "/v1/participants/ext:anna") == anna
        assert await api.refused("GET", f"/v1/participants/{NOBODY}") == (404, "Not_found")
        assert await api.refused("GET", "/v1/participants/ext:") == (400, "Illegal_argument")


async def test_pages_hold_everyone_once() -> None:
    async with api_service() as (running, tenant, api):
        clients = [await running.dial() for _ in range(7)]
        for number, client in enumerate(clients):
            await client.open(tenant.token(f"p{number}"))
        seen: list[str] = []
        cursor: dict[str, str] = {}
        for _ in range(10):
            page = await api.good("GET", "/v1/participants", limit=3, **cursor)
            seen += [item["externalId"] for item in page["items"]]
            if page["cursor"] is None:
                break
            cursor = {"cursor": page["cursor"]}
        assert sorted(seen) == [f"p{number}" for number in range(7)]
        assert await api.refused("GET", "/v1/participants", cursor="%%%") == (400, "Illegal_argument")
        assert await api.refused("GET", "/v1/participants", limit=0) == (400, "Illegal_argument")
        for client in clients:
            await client.drop()


async def test_changing_a_profile_keeps_the_rules_and_the_revision() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"), participant={"name": "Anna"})
        path = "/v1/participants/ext:anna"
        before = await api.call("GET", path)
        etag = before.headers["ETag"]
        changed = await api.call("PATCH", path, {"name": "Anne"}, headers={"If-Match": etag})
        assert (changed.status, changed.body["name"]) == (200, "Anne")
        assert changed.body["revision"] == before.body["revision"] + 1
        assert changed.headers["ETag"] == f'"{changed.body["revision"]}"'
        stale = await api.call("PATCH", path, {"name": "Late"}, headers={"If-Match": etag})
        assert (stale.status, stale.body["error_reason"]) == (409, "Revision_conflict")
        assert stale.body["details"]["participant"] == changed.body
        again = await api.call("PATCH", path, {"name": "Anne"}, headers={"If-Match": "*"})
        assert again.body["revision"] == changed.body["revision"]
        assert (await api.call("PATCH", path, {"name": ""})).body["name"] is None
        for bad in ({"name": "a\nb"}, {"avatarUrl": "javascript:alert(1)"}, {"name": 3}, {"nom": "x"}):
            assert await api.refused("PATCH", path, bad) == (400, "Illegal_argument")
        weak = await api.call("PATCH", path, {"name": "x"}, headers={"If-Match": 'W/"1"'})
        assert weak.status == 400
        assert await api.refused("PATCH", f"/v1/participants/{NOBODY}", {"name": "x"}) == (404, "Not_found")


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "hasOwnProperty", "'; DROP TABLE x; --"])
async def test_odd_names_are_just_names(name: str) -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token(name), participant={"name": name})
        found = (await api.good("GET", "/v1/participants", externalId=name))["items"]
        assert [(item["externalId"], item["name"]) for item in found] == [(name, name)]
        changed = await api.good("PATCH", f"/v1/participants/{found[0]['id']}", {"name": "x" + name})
        assert changed["name"] == "x" + name


async def test_counts() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        await client.open(tenant.token("anna"))
        counts = await api.good("GET", "/v1/counts")
        assert counts["participants"] == {"online": 1, "unreachable": 0}
        assert counts["sessions"] == {"attached": 1, "detached": 0}


async def test_one_application_never_sees_another() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        opened = await client.open(tenant.token("anna"))
        other = api_of(running, await running.new_application())
        participant = opened.participant["id"]
        assert (await other.good("GET", "/v1/participants"))["items"] == []
        assert (await other.good("GET", "/v1/sessions"))["items"] == []
        for method, path in (
            ("GET", f"/v1/participants/{participant}"),
            ("GET", f"/v1/sessions/{opened.id}"),
            ("GET", f"/v1/sessions/{opened.id}/timeline"),
            ("DELETE", f"/v1/sessions/{opened.id}"),
        ):
            assert await other.refused(method, path) == (404, "Not_found")
        assert (await other.good("DELETE", f"/v1/participants/{participant}"))["ended"] == []
        assert (await other.good("POST", f"/v1/participants/{participant}/kick", {}))["ended"] == []
        # Nothing reveals whether the id is one of another application.
        assert (await other.good("DELETE", f"/v1/participants/{participant}"))["ended"] == []
        assert (await other.good("GET", "/v1/events"))["items"] == []
        assert (await api.good("GET", f"/v1/sessions/{opened.id}"))["state"] == "attached"


async def test_scopes_are_needed() -> None:
    async with api_service() as (running, tenant, _):
        reader = api_of(running, tenant, (PARTICIPANTS_READ,))
        await reader.good("GET", "/v1/participants")
        assert await reader.refused("POST", "/v1/participants/x/kick", {}) == (403, "Insufficient_scope")
        assert await reader.refused("GET", "/v1/sessions") == (403, "Insufficient_scope")
        sessions = api_of(running, tenant, (SESSIONS_READ,))
        assert await sessions.refused("GET", "/v1/participants") == (403, "Insufficient_scope")
        assert await sessions.refused("GET", "/v1/events") == (403, "Insufficient_scope")
        assert await sessions.refused("POST", "/v1/tokens/revoke", {"application": True}) == (403, "Insufficient_scope")


async def test_attributes_are_changed_as_a_profile_is() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client, running.connect() as watcher:
        await client.open(tenant.token("anna"), participant={"attributes": {"role": "nurse"}})
        await watcher.open(tenant.token("ben"))
        await watcher.call("participants.watch", externalIds=["anna"])
        path = "/v1/participants/ext:anna"
        before = await api.call("GET", path)
        assert (before.body["attributes"], before.body["status"]) == ({"role": "nurse"}, "available")
        etag = before.headers["ETag"]
        body = {"attributes": {"role": None, "team": "blue"}}
        changed = await api.call("PATCH", path, body, headers={"If-Match": etag})
        assert (changed.status, changed.body["attributes"]) == (200, {"team": "blue"})
        received = (await watcher.notified("participants.changed"))["participants"][0]
        assert received["attributes"] == {"team": "blue"}
        assert (await client.call("session.getParticipant"))["participant"]["attributes"] == {"team": "blue"}
        stale = await api.call("PATCH", path, {"attributes": {"team": "red"}}, headers={"If-Match": etag})
        assert (stale.status, stale.body["details"]["participant"]) == (409, changed.body)
        for bad in ({"role": 5}, {"": "x"}, {"role": "x" * 1025}, {str(n): "x" for n in range(33)}, ["role"]):
            assert await api.refused("PATCH", path, {"attributes": bad}) == (400, "Illegal_argument"), bad
        assert (await api.good("GET", path))["attributes"] == {"team": "blue"}
        (updated,) = [
            event for event in (await api.good("GET", "/v1/events"))["items"] if event["type"] == "participant.updated"
        ]
        assert updated["data"]["attributes"] == {"team": "blue"}


async def test_some_attributes_are_the_backends_alone() -> None:
    async with api_service() as (running, tenant, api), running.connect() as client:
        patched = await api.good("PATCH", "/v1/settings", {"clientAttributes": ["colour"]})
        assert patched["clientAttributes"] == ["colour"]
        async with running.connect() as other:
            with pytest.raises(RefusedError, match="Only the app's backend may set these attributes: role"):
                await other.open(tenant.token("anna"), participant={"attributes": {"role": "admin"}})
        await client.open(tenant.token("anna"), participant={"attributes": {"colour": "red"}})
        await api.good("PATCH", "/v1/participants/ext:anna", {"attributes": {"role": "nurse"}})
        for changes in ({"role": "admin", "colour": "blue"}, {"role": None}):
            with pytest.raises(RefusedError, match="role"):
                await client.call("session.updateParticipantInfo", updateId="u", name="New", attributes=changes)
        now = await api.good("GET", "/v1/participants/ext:anna")
        assert (now["attributes"], now["name"]) == ({"role": "nurse", "colour": "red"}, None)
        own = await client.call("session.updateParticipantInfo", updateId="v", attributes={"colour": "blue"})
        assert own["participant"]["attributes"] == {"role": "nurse", "colour": "blue"}
        assert (await api.good("PATCH", "/v1/settings", {"clientAttributes": None}))["clientAttributes"] is None
        await client.call("session.updateParticipantInfo", updateId="w", attributes={"role": "admin"})
        assert await api.refused("PATCH", "/v1/settings", {"clientAttributes": [""]}) == (400, "Illegal_argument")


async def test_a_status_is_in_the_api_and_in_events() -> None:
    async with api_service() as (running, tenant, api), running.connect() as phone, running.connect() as laptop:
        first = await phone.open(tenant.token("anna"))
        await laptop.open(tenant.token("anna"))
        path = "/v1/participants/ext:anna"
        await phone.call("session.setStatus", status="away")
        assert (await api.good("GET", path))["status"] == "available"
        assert (await api.good("GET", f"/v1/sessions/{first.id}"))["status"] == "away"
        await laptop.call("session.setStatus", status="busy")
        assert (await api.good("GET", path))["status"] == "busy"
        await laptop.call("session.close")
        assert (await api.good("GET", path))["status"] == "away"
        await phone.call("session.close")
        assert (await api.good("GET", path))["status"] is None
        events = (await api.good("GET", "/v1/events"))["items"]
        statuses = [event["data"].get("status") for event in events if event["type"] == "participant.updated"]
        assert statuses[0] == "busy"
