"""Dead letters and replays of an endpoint: queued again, dropped with the endpoint or the participant."""

from __future__ import annotations

from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.webhooks.dead_letters import (
    forget_endpoint,
    forget_participant,
    replay_dead_letters,
    replay_range,
)
from greenroom.server.webhooks.worker import reader_of, replay_reader_of
from tests.core.server.rig import APP
from tests.server.shell import Shell, running_shell

ENDPOINT = WebhookEndpoint(id="wh", url="https://x.example")
DEAD, AGAIN = reader_of(ENDPOINT.id), replay_reader_of(ENDPOINT.id)


def _event(number: int, participant_id: str = "p") -> Event:
    return Event(id=f"e{number}", type="session.ended", at=number, app=APP, participant_id=participant_id)


async def _kept(shell: Shell, reader: str) -> list[str]:
    return [event.id for event, _ in await shell.inner.outbox.aside(APP, reader, 100)]


async def test_dead_letters_are_queued_again_all_or_some() -> None:
    async with running_shell() as shell:
        outbox = shell.inner.outbox
        await outbox.set_aside(APP, DEAD, [_event(1), _event(2), _event(3)], "410")
        assert await replay_dead_letters(outbox, APP, ENDPOINT.id, ["e2", "unknown"]) == (1, False)
        assert (await _kept(shell, DEAD), await _kept(shell, AGAIN)) == (["e1", "e3"], ["e2"])
        assert await replay_dead_letters(outbox, APP, ENDPOINT.id, None) == (2, False)
        assert (await _kept(shell, DEAD), sorted(await _kept(shell, AGAIN))) == ([], ["e1", "e2", "e3"])
        assert await replay_dead_letters(outbox, APP, ENDPOINT.id, None) == (0, False)


async def test_an_endpoint_takes_everything_with_it_and_nothing_of_others() -> None:
    async with running_shell() as shell:
        outbox = shell.inner.outbox
        for reader in (DEAD, AGAIN, reader_of("other")):
            await outbox.set_aside(APP, reader, [_event(1)], "410")
        await forget_endpoint(outbox, APP, ENDPOINT.id)
        assert (await _kept(shell, DEAD), await _kept(shell, AGAIN)) == ([], [])
        assert await _kept(shell, reader_of("other")) == ["e1"]


async def test_an_erased_participant_s_letters_go_and_others_stay() -> None:
    async with running_shell() as shell:
        outbox = shell.inner.outbox
        app = Application(key=APP, name="App", namespace="n", webhooks=(ENDPOINT,))
        for reader in (DEAD, AGAIN):
            await outbox.set_aside(APP, reader, [_event(1, "erased"), _event(2, "stays")], "410")
        await forget_participant(outbox, app, "erased")
        assert (await _kept(shell, DEAD), await _kept(shell, AGAIN)) == (["e2"], ["e2"])


async def test_a_range_is_queued_as_far_as_the_endpoint_wants_it() -> None:
    async with running_shell() as shell:
        await shell.open("anna", participant={"name": "Anna"})
        outbox, now = shell.inner.outbox, shell.clock.now_ms()
        sessions = WebhookEndpoint(id="wh", url="https://x.example", events=("session.*",))
        count, go_on = await replay_range(outbox, APP, sessions, now - 1000, now + 1000)
        assert (count, go_on) == (2, None), "session.opened and participant.online"
        (only,) = [event.type for event, _ in await outbox.aside(APP, AGAIN, 100)]
        assert only == "session.opened"
