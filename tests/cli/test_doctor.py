"""``greenroom doctor`` asks a service; `test_doctoring.py` asks the engine itself."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.cli.doctor import show_life, show_report
from greenroom.cli.exits import Exit
from tests.cli.running import as_operator
from tests.server.harness import running_service

FINDING = {
    "severity": "problem", "subject": "session s-1", "text": "It is [nowhere].", "hint": "Look.", "repair": "end it",
}  # fmt: skip


def report(**more: Any) -> dict[str, Any]:
    base = {"nodes": 2, "sessions": 1, "sockets": 1, "durability": ["AOF on"], "findings": [], "repaired": []}
    return base | more


async def test_nothing_is_wrong() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        await client.open(tenant.token("anna"))
        ran = await as_operator(running, "doctor")
        assert (ran.code, ran.err) == (Exit.DONE, "")
        assert ran.out.startswith("1 node, 1 session in the registry, 1 with a connection.\n")
        assert ran.out.endswith("Nothing is wrong.\n")
        repaired = (await as_operator(running, "doctor", "--repair", "--json")).json
        assert (repaired["findings"], repaired["repaired"]) == ([], [])


async def test_the_life_of_a_session() -> None:
    async with running_service() as running, running.connect() as client:
        tenant = await running.new_application()
        opened = await client.open(tenant.token("anna"))
        shown = await as_operator(running, "doctor", "--session", opened.id)
        assert shown.code == Exit.DONE
        assert [word in shown.out for word in (opened.id, "anna", tenant.key, "opened", "+0.0 s")] == [True] * 5
        life = (await as_operator(running, "doctor", "--session", opened.id, "--json")).json
        assert (life["sessionId"], life["steps"][0]["what"]) == (opened.id, "opened")
        unknown = await as_operator(running, "doctor", "--session", "nope")
        assert (unknown.code, "There is no such session" in unknown.err) == (Exit.NOT_FOUND, True)


def test_a_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(report(findings=[FINDING], sockets=None, sessions=2))
    assert capsys.readouterr().out.splitlines() == [
        "2 nodes, 2 sessions in the registry, not asked with a connection.",
        "AOF on",
        "problem session s-1: It is [nowhere].",
        "         Look.",
        "         With --repair: end it.",
    ]
    show_report(report(findings=[FINDING], repaired=["session s-1: ended"]))
    assert capsys.readouterr().out.splitlines()[-2:] == ["         Look.", "repaired session s-1: ended"]


def test_a_life_that_nothing_is_known_of(capsys: pytest.CaptureFixture[str]) -> None:
    show_life(
        {"sessionId": "s", "externalId": None, "participantId": "p", "appKey": "k", "summary": "It ended.", "steps": []}
    )
    assert capsys.readouterr().out.splitlines() == [
        "session      s",
        "participant  p",
        "application  k",
        "now          It ended.",
        "Nothing is known of it.",
    ]
