"""Who may read /metrics, and what is not on it."""

from __future__ import annotations

import pytest

from tests.server.harness import RefusedError, running_service


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "203.0.113.7"}, 401),
        ({"Forwarded": "for=203.0.113.7"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Host": "rebound.example.com"}, 401),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:7465"}, 200),
    ],
)
async def test_without_a_token_only_this_machine_itself(headers: dict[str, str], status: int) -> None:
    async with running_service() as running:
        async with running.http.get(running.url + "/metrics", headers=headers) as reply:
            assert reply.status == status
        token = {"Authorization": f"Bearer {running.service.admin_token}"}
        async with running.http.get(running.url + "/metrics", headers=headers | token) as reply:
            assert reply.status == 200


async def test_a_loopback_proxy_is_not_this_machine_unless_the_settings_say_so() -> None:
    """It adds no header unless it is asked to."""
    async with (
        running_service(metrics_from_loopback="off") as running,
        running.http.get(running.url + "/metrics") as reply,
    ):
        assert reply.status == 401


async def test_the_metrics_token_reads_metrics_and_nothing_else() -> None:
    token = "prometheus-0123456789abcdef0123456789abcdef"
    async with running_service(metrics_from_loopback="off", metrics_token=token) as running:
        for given, path, status in (
            (token, "/metrics", 200),
            (running.service.admin_token, "/metrics", 200),
            (token + "x", "/metrics", 401),
            (token, "/admin/v1/status", 401),
            (token, "/v1/counts", 401),
        ):
            async with running.http.get(running.url + path, headers={"Authorization": f"Bearer {given}"}) as reply:
                assert reply.status == status, path


async def test_nobody_is_named() -> None:
    """Canaries through all that a client may choose: none is on the page."""
    canary = "c4n4ry"
    async with running_service() as running:
        app = await running.new_application(f"name {canary}")
        token = app.token(f"{canary}-external")
        client = await running.dial()
        opened = await client.open(
            token, participant={"name": f"{canary} name"}, device={"id": f"{canary}-d", "name": f"{canary} device"},
            sdk={"name": canary, "version": canary},
        )  # fmt: skip
        async with running.http.request("DELETE", f"{running.url}/{canary}?{canary}") as reply:
            assert reply.status in (400, 404, 405)
        await client.socket.close(code=3999, message=canary.encode())
        async with running.connect() as other:
            with pytest.raises(RefusedError):
                await other.open(token[:-4] + "AAAA")
        async with running.http.get(running.url + "/metrics") as got:
            page = await got.text()
    assert canary not in page.lower()
    for secret in (token, opened.secret, opened.id, app.secret, app.participant_id(f"{canary}-external")):
        assert secret not in page
    assert 'code="other"' in page
