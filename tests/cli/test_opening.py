"""A session held open on a terminal: what is printed, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from greenroom.cli.opening import Ticker, Wanted, as_dict, described, hold_open
from greenroom.core.states import SessionState
from greenroom.errors import TokenExpiredError
from greenroom.messages import Device
from greenroom.model import Participant, ParticipantInfo, Presence
from tests.server.harness import Tenant, running_service
from tests.support.patience import until

ANNA = Participant(
    id="p-1", info=ParticipantInfo("Anna", "https://a.example/a.png", "anna"), revision=3, version=9,
    presence=Presence.ONLINE, sessions=1,
)  # fmt: skip


def wanted(url: str, tenant: Tenant, **more: str) -> Wanted:
    """A session of anna's."""
    fields: dict[str, str | None] = dict.fromkeys(("token", "key", "secret", "external_id", "name", "avatar_url"))
    return Wanted(url, **{**fields, "token": tenant.token("anna"), **more})


class Printed:
    """The lines that are printed, read as JSON."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.events: list[dict[str, Any]] = []

    async def until(self, event: str, held: asyncio.Task[Any]) -> dict[str, Any]:
        """Wait for the first event of that name."""

        def has_come() -> bool:
            self.events.extend(json.loads(line) for line in self._capsys.readouterr().out.splitlines())
            return held.done() or event in [one["event"] for one in self.events]

        await until(has_come)
        return next(one for one in self.events if one["event"] == event)


async def test_what_happens_is_printed_until_the_session_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    printed = Printed(capsys)
    async with running_service() as running:
        tenant = await running.new_application()
        held = asyncio.create_task(hold_open(wanted(running.url, tenant, name="Anna"), as_json=True))
        opened = await printed.until("open", held)
        assert (opened["participant"]["name"], opened["participant"]["externalId"]) == ("Anna", "anna")
        assert "session:update" in opened["scopes"]
        admin = {"Authorization": f"Bearer {(Path(running.data_dir) / 'admin-token').read_text().strip()}"}
        async with running.http.post(
            f"{running.url}/v1/participants/ext:anna/kick", json={"reason": "bye"},
            headers=admin | {"Greenroom-App": tenant.key},
        ) as response:  # fmt: skip
            assert response.status == 200
        assert await held == "kicked"
    ended = await printed.until("ended", held)
    assert ended == {"event": "ended", "reason": "kicked", "message": "bye", "byDevice": None}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_the_session(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    printed = Printed(capsys)
    async with running_service() as running:
        tenant = await running.new_application()
        held = asyncio.create_task(hold_open(wanted(running.url, tenant), as_json=True))
        await printed.until("open", held)
        signal.raise_signal(number)
        assert await held is None
        assert await printed.until("closed", held) == {"event": "closed"}


def test_each_event_is_one_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    ticker = Ticker(as_json=False)
    ticker.session_updated(SessionState.CONNECTED)
    ticker.participant_updated(ANNA)
    ticker.session_reopened(ANNA, "session_ended", "s-1")
    ticker.token_refresh_failed(TokenExpiredError("The token has expired.", hint="Get another."), True)
    ticker.session_ended("replaced", "", Device(name="Phone"))
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "state       connected",
        "participant Anna, id p-1, revision 3, online, 1 session",
        "reopened    a new session: session_ended",
        "token       The token has expired. Get another.",
        "ended       replaced",
    ]
    assert (ticker.ended, ticker.over.is_set()) == ("replaced", True)


def test_a_participant_as_on_the_wire_and_on_one_line() -> None:
    assert as_dict(ANNA) == {
        "id": "p-1", "externalId": "anna", "name": "Anna", "avatarUrl": "https://a.example/a.png", "revision": 3,
        "version": 9, "presence": "online", "sessions": 1,
    }  # fmt: skip
    assert described(ANNA) == "Anna, id p-1, revision 3, online, 1 session"
    unnamed = Participant(id="p-2", info=ParticipantInfo(external_id="ben"), sessions=2)
    assert described(unnamed) == "ben, id p-2, revision 0, offline, 2 sessions"
    assert described(Participant(id="p-3")) == "an anonymous participant, id p-3, revision 0, offline, 0 sessions"
