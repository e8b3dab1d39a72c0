"""The apps of a simulated world: one process each, with an SDK in it, and the network on its way to the service."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from greenroom.core.states import SessionState
from greenroom.errors import InvitationAnsweredError
from greenroom.model import Invitation, InvitationAnswer, Participant, ParticipantInfo
from greenroom.sdk.client import Greenroom
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.environment import Environment
from greenroom.sdk.room import Room
from greenroom.sdk.watch import Watch
from greenroom.tokens import SESSION_SCOPES
from tests.support.sim.loop import ProcessClock, start
from tests.support.sim.network import SimTransport, Wire
from tests.support.sim.nodes import URL

if TYPE_CHECKING:
    from tests.support.sim.issuers import SimIssuer
    from tests.support.sim.world import World

T = TypeVar("T")

FAST, SLOW, LATE = 0.002, 0.08, 1.5
"""Seconds: between the first two delays of the network are drawn, one in a hundred between the last two."""
CLOCKS_DIFFER = 20.0
"""Seconds: from the clock of the engine to those of nodes, at most, after some failovers."""


class Watcher(SessionDelegate):
    """The delegate of an app: what it is notified of, kept for the oracles."""

    def __init__(self, app: SimApp) -> None:
        self._app = app

    def session_updated(self, state: object) -> None:
        self._app.notified(f"state {state}")
        if state is SessionState.CONNECTED:
            self._app.joined()
        if state is SessionState.DISCONNECTED:
            self._app.watches.clear()

    def session_ended(self, reason: str, message: str, by: object) -> None:
        self._app.ends.append(reason)
        self._app.notified(f"ended: {reason}")

    def session_reopened(self, participant: Participant, reason: str, previous_id: str) -> None:
        self._app.reopened.append(reason)
        self._app.previous_ids.append(previous_id)
        self._app.notified(f"reopened: {reason}")

    def room_invited(self, invitation: Invitation) -> None:
        self._app.invited.append(invitation)
        self._app.notified(f"is invited to {invitation.room} by {invitation.inviter_name}")

    def room_invitation_answered(self, answer: InvitationAnswer) -> None:
        self._app.answered.append(answer)
        self._app.notified(f"the invitation to {answer.room} is {'accepted' if answer.accepted else 'declined'}")

    def participants_changed(self, participants: list[Participant]) -> None:
        for participant in participants:
            self._app.saw(participant)


class SimApp:
    """One process with an SDK in it: a participant's device."""

    def __init__(self, world: World, name: str, external_id: str | None, issuer: SimIssuer | None = None) -> None:
        self.world = world
        self.issuer = issuer
        """Who makes its tokens; None is the service."""
        self.timeline = world.timeline
        self.name = name
        self.external_id = external_id
        self.address = "192.0.2.1"
        self.clock = ProcessClock(world.timeline)
        self.loop = world.timeline.make_loop(name)
        self.wires: dict[Wire, None] = {}
        """In the order in which they were made."""
        self.is_silent_up = False
        self.is_silent_down = False
        self.is_paused = False
        self.ends: list[str] = []
        self.reopened: list[str] = []
        self.previous_ids: list[str] = []
        self.seen: dict[str, list[Participant]] = {}
        self.seen_at: dict[str, list[float]] = {}
        """When each of them was seen, in the world's time."""
        self.watches: list[Watch] = []
        self.rooms: dict[str, Room] = {}
        """By name, the last it was given."""
        self.room_versions: dict[str, list[int]] = {}
        """Of rosters, as they changed."""
        self.invited: list[Invitation] = []
        """All that it was ever notified of."""
        self.answered: list[InvitationAnswer] = []
        """Of its participant's own invitations."""
        self.log: list[str] = []
        self.is_marking = False
        """An update of the attribute is under way: there is one at a time, so that the number only rises."""
        self.open_statuses: set[str] = set()
        """Set since the last one that was acknowledged: each may be in force or not."""
        self.token_life = 3600
        self.token_scopes = SESSION_SCOPES
        self.refreshes = 0
        chance = self._chance = random.Random(world.chance.getrandbits(64))
        self.latency = self.dice()
        environment = Environment(
            monotonic=self.clock.monotonic,
            wall=self.clock.wall,
            random=chance.random,
            random_bytes=chance.randbytes,
            transport=lambda _base, _tls: SimTransport(self),
        )
        self.sdk = Greenroom(URL, environment=environment)
        self.sdk.session.delegate = Watcher(self)
        self.sdk.initialize_token(world.mint(self), self._refresh)

    def dice(self) -> Callable[[], float]:
        """Delays of one direction: seconds for one message on its way, now and then a long one."""
        chance = random.Random(self._chance.getrandbits(64))

        def draw() -> float:
            return chance.uniform(SLOW, LATE) if chance.random() < 0.01 else chance.uniform(FAST, SLOW)

        return draw

    async def _refresh(self, is_expired: bool) -> str:
        self.refreshes += 1
        await asyncio.sleep(self.latency())
        return self.world.mint(self)

    def notified(self, text: str) -> None:
        """The delegate was notified."""
        self.log.append(text)
        self.world.note(f"{self.name}: {text}")

    def joined(self) -> None:
        """Its session is acknowledged."""
        session_id = self.sdk._runner.machine.session_id
        if session_id is not None:
            self.world.opened.add(session_id)

    def saw(self, participant: Participant) -> None:
        """A watched participant changed."""
        self.seen.setdefault(participant.id, []).append(participant)
        self.seen_at.setdefault(participant.id, []).append(self.timeline.now)
        self.world.note(
            f"{self.name} sees {participant.info.external_id}: {participant.presence.value},"
            f" {participant.sessions} sessions, version {participant.version}"
        )

    # -- what the app does --------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T], within: float = 600.0) -> T:
        """A coroutine in its process, to its end."""
        result: T = self.timeline.call(self.loop, work, within)
        return result

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A coroutine in its process, now; the world continues later."""
        return start(self.loop, work)

    def open(self, **info: Any) -> Participant:
        """Open a session, to the end."""
        return self.run(self.sdk.session.open(ParticipantInfo(**info) if info else None, timeout=None))

    async def watch(self, *external_ids: str) -> None:
        """Watch people; what is held of each is kept for the oracles."""
        self.watches.append(await self.sdk.participants.watch(external_ids=list(external_ids)))

    async def rename(self, name: str) -> None:
        """Change the name; an acknowledged change is kept for the oracles."""
        participant = await self.sdk.session.update_participant_info(name=name)
        self.world.note(f"{self.name} is {name!r} now, revision {participant.revision}")
        known = self.world.acknowledged.get(self.external_id or "", (0, ""))
        if participant.revision >= known[0]:
            self.world.acknowledged[self.external_id or ""] = (participant.revision, participant.info.name or "")

    async def mark(self, number: int) -> None:
        """Write a number into an attribute of this app's own; an acknowledged one is kept for the oracles."""
        if self.is_marking or self.external_id is None:
            return
        self.is_marking = True
        try:
            await self.sdk.session.update_participant_info(attributes={self.name: str(number)})
            self.world.note(f"{self.name} has the mark {number}")
            self.world.marks[self.external_id, self.name] = number
        finally:
            self.is_marking = False

    async def join_room(self, name: str) -> None:
        """Join a room; what is held of it is kept for the oracles."""
        self._entered(await self.sdk.rooms.join(name))

    def _entered(self, room: Room) -> None:
        name = room.name
        self.world.note(f"{self.name} is in the room {name}")
        if self.rooms.get(name) is not room:
            self.rooms[name] = room
            versions = self.room_versions.setdefault(name, [])
            room.on_change(lambda change: versions.append(change.version))
            room.on_closed(lambda reason: self.notified(f"out of the room {name}: {reason}"))

    async def leave_room(self, name: str) -> None:
        """Leave it."""
        room = self.rooms.get(name)
        if room is not None:
            await room.leave()
            self.world.note(f"{self.name} has left the room {name}")

    async def invite(self, name: str, external_id: str) -> None:
        """Invite someone to a room in which it is."""
        room = self.rooms.get(name)
        if room is not None and room.is_member:
            await room.invite(external_ids=[external_id])
            self.world.note(f"{self.name} invites {external_id} to the room {name}")

    async def answer(self, invitation: Invitation, *, accept: bool) -> None:
        """Answer it, answered or not; what the service says is kept for the oracles."""
        answers = self.world.answers.setdefault(invitation.id, set())
        try:
            if accept:
                self._entered(await self.sdk.rooms.accept(invitation))
            else:
                await self.sdk.rooms.decline(invitation)
        except InvitationAnsweredError as error:
            answers.add(error.accepted)
            raise
        # One that is past its time lets join where everybody may, and the service has not kept that answer.
        if not accept or self.world.node.clock.wall() < invitation.expires_at / 1000 - CLOCKS_DIFFER:
            answers.add(accept)

    async def set_status(self, status: str) -> None:
        """Set the status; while nobody has answered both may be in force."""
        self.open_statuses.add(status)
        await self.sdk.session.set_status(status)
        self.world.note(f"{self.name} is {status!r}")
        self.open_statuses.clear()

    def close(self) -> None:
        """Close the session, to the end."""
        self.world.note(f"{self.name} closes")
        self.run(self.sdk.session.close())

    # -- what happens to it -------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Its connections are reset; it may dial again."""
        self.world.note(f"the connections of {self.name} are reset")
        for wire in tuple(self.wires):
            wire.reset()

    def silence(self, *, up: bool = True, down: bool = True) -> None:
        """Its network goes silent, in one direction or both; no connection is closed."""
        self.world.note(f"{self.name}'s network goes silent{'' if up and down else ' up' if up else ' down'}")
        self.is_silent_up, self.is_silent_down = up, down
        for wire in self.wires:
            if up:
                wire.up.silence()
            if down:
                wire.down.silence()

    def heal(self) -> None:
        """Its network works again; what waited arrives late."""
        self.world.note(f"{self.name}'s network is back")
        self.is_silent_up = self.is_silent_down = False
        for wire in tuple(self.wires):
            wire.up.heal()
            wire.down.heal()

    def leave_page(self) -> None:
        """The process ends and its WebSocket library says 1001, as browsers do."""
        self.world.note(f"{self.name} leaves the page")
        for wire in tuple(self.wires):
            wire.plug.disconnect(1001)
        self._forget()

    def kill(self) -> None:
        """The process ends; its machine resets the connections."""
        self.world.note(f"{self.name} is killed")
        for wire in tuple(self.wires):
            wire.up.carry(lambda wire=wire: wire.link.ended(1006))  # type: ignore[misc]
        self._forget()

    def lose_power(self) -> None:
        """The machine is gone; no connection is closed."""
        self.world.note(f"{self.name} loses power")
        for wire in tuple(self.wires):
            wire.up.silence()
            wire.down.silence()
        self._forget()

    def _forget(self) -> None:
        if self.loop in self.timeline.loops:
            self.timeline.forget(self.loop)

    def pause(self) -> None:
        """Its machine sleeps."""
        self.world.note(f"{self.name} sleeps")
        self.is_paused = True
        self.timeline.pause(self.loop)

    def wake(self) -> None:
        """Its machine wakes up."""
        self.world.note(f"{self.name} wakes up")
        self.is_paused = False
        self.timeline.wake(self.loop)

    @property
    def is_alive(self) -> bool:
        """Whether its process runs, perhaps asleep."""
        return self.loop in self.timeline.loops
