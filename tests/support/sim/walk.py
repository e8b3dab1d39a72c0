"""A random life of a world, from its seed: what happens, and what is judged when it has come to rest.

``python -m tests.support.sim SEED`` walks one again and prints its timeline.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from greenroom.core.states import SessionState
from greenroom.errors import GreenroomError
from greenroom.model import ParticipantInfo
from tests.support.sim.apps import SimApp
from tests.support.sim.oracles import AT_REST, AT_THE_END
from tests.support.sim.world import World

PEOPLE = ("anna", "bob", "carla")
ROOMS = ("standup", "lobby")
STEPS = 24
"""Things that happen in one walk."""
REST = 130.0
"""Seconds in which a healed world comes to rest: the longest bound of promise 4, and two delays of the backoff."""
LONG = 3600.0
"""Seconds for which someone is kept out of a room for good."""
LAST = 75.0
"""Seconds after which nobody is left: the longest bound of promise 4 for those who died, and a reaper's pass."""


class WalkError(AssertionError):
    """An oracle spoke. The text is the seed, what is wrong and the timeline."""


class Walk:
    """One walk. make_world: how its world is made."""

    def __init__(self, seed: int, make_world: Callable[[int], World] = World) -> None:
        self.seed = seed
        self.world = make_world(seed)
        self.dice = random.Random(seed ^ 0x5EED)
        self._tasks: list[asyncio.Task[Any]] = []
        self._updates = 0

    # -- what happens -------------------------------------------------------------------------------------------------

    def _alive(self) -> list[SimApp]:
        return [app for app in self.world.apps if app.is_alive]

    def _pick(self) -> SimApp | None:
        alive = [app for app in self._alive() if not app.is_paused]
        return self.dice.choice(alive) if alive else None

    def _begin(self, app: SimApp, work: Any) -> None:
        async def life() -> None:
            try:
                await work
            except GreenroomError as error:
                app.notified(f"error: {error.reason}")

        self._tasks.append(app.begin(life()))

    def join(self) -> None:
        """A new device of a participant."""
        if len(self._alive()) >= 6:
            return
        person = self.dice.choice(PEOPLE)
        issuer = self.dice.choice((None, *self.world.issuers))
        app = self.world.make_app(f"{person}/{len(self.world.apps) + 1}", person, issuer)
        self._begin(app, app.sdk.session.open(ParticipantInfo(name=person.title()), timeout=30.0))

    def watch(self) -> None:
        """A device watches everybody."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open():
            self._begin(app, app.watch(*PEOPLE))

    def update(self) -> None:
        """A device changes the name."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open():
            self._updates += 1
            self._begin(app, app.rename(f"{app.external_id} {self._updates}"))

    def mark(self) -> None:
        """A device changes an attribute."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open():
            self._updates += 1
            self._begin(app, app.mark(self._updates))

    def set_status(self) -> None:
        """A device sets its status: away, busy, available or a text."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open() and not app.open_statuses:
            self._updates += 1
            self._begin(app, app.set_status(self.dice.choice(("available", "away", "busy", f"text {self._updates}"))))

    def join_room(self) -> None:
        """A device joins a room."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open():
            self._begin(app, app.join_room(self.dice.choice(ROOMS)))

    def leave_room(self) -> None:
        """A device leaves a room."""
        app = self._pick()
        if app is not None and app.sdk.session.is_open():
            self._begin(app, app.leave_room(self.dice.choice(ROOMS)))

    def kick_from_room(self) -> None:
        """A backend puts a participant out of a room, and keeps them out: not at all, for a moment, or for good."""
        seconds = self.dice.choice((0.0, 0.0, 3.0, 3.0, LONG))
        self.world.kick_from_room(self.dice.choice(ROOMS), self.dice.choice(PEOPLE), seconds)

    def end_room(self) -> None:
        """A backend ends a room."""
        self.world.end_room(self.dice.choice(ROOMS))

    def invite(self) -> None:
        """A member invites someone, there or not, in the room or not. Where nobody is a member, a device joins."""
        awake = [app for app in self._alive() if not app.is_paused]
        members = [(app, name) for app in awake for name, room in app.rooms.items() if room.is_member]
        if members:
            app, name = self.dice.choice(members)
            self._begin(app, app.invite(name, self.dice.choice(PEOPLE)))
        else:
            self.join_room()

    def answer(self) -> None:
        """A device, or two at once, answer an invitation that may be answered already."""
        invited = [app for app in self._alive() if not app.is_paused and app.sdk.session.is_open() and app.invited]
        for app in self.dice.choices(invited, k=self.dice.choice((1, 2))) if invited else ():
            self._begin(app, app.answer(self.dice.choice(app.invited), accept=self.dice.random() < 0.6))

    def close(self) -> None:
        """A device closes its session."""
        app = self._pick()
        if app is not None:
            self.world.note(f"{app.name} closes")
            self._begin(app, app.sdk.session.close())

    def reopen(self) -> None:
        """A device that closed its session opens another."""
        app = self._pick()
        if app is not None and app.sdk.session.state is SessionState.DISCONNECTED:
            self._begin(app, app.sdk.session.open(timeout=30.0))

    def drop(self) -> None:
        app = self._pick()
        if app is not None:
            app.drop()

    def silence(self) -> None:
        app = self._pick()
        if app is not None:
            up, down = self.dice.choice(((True, True), (True, False), (False, True)))
            app.silence(up=up, down=down)

    def heal(self) -> None:
        for app in self._alive():
            if app.is_silent_up or app.is_silent_down:
                app.heal()

    def sleep(self) -> None:
        app = self._pick()
        if app is not None:
            app.pause()

    def wake(self) -> None:
        for app in self._alive():
            if app.is_paused:
                app.wake()

    def die(self) -> None:
        app = self._pick()
        if app is not None:
            self.dice.choice((app.kill, app.lose_power, app.leave_page))()

    def jump(self) -> None:
        """The wall clock of a device is set."""
        app = self._pick()
        if app is not None:
            app.clock.offset += self.dice.choice((-3600.0, -30.0, 30.0, 3600.0))
            self.world.note(f"{app.name}'s clock is {app.clock.offset:+.0f} s off")

    def kick(self) -> None:
        """An operator ends the sessions of a participant."""
        person = self.dice.choice(PEOPLE)
        self.world.kick(person)

    def issuers_change(self) -> None:
        """The application adds an issuer, rotates its key, or removes it."""
        world = self.world
        try:
            if not world.issuers:
                world.add_issuer()
            elif self.dice.random() < 0.5:
                world.remove_issuer(self.dice.choice(world.issuers))
            else:
                self.dice.choice(world.issuers).rotate()
                world.publish_issuers()
        except GreenroomError as error:
            world.note(f"the issuers stay, perhaps: {error.reason}")

    def node_dies(self) -> None:
        node = self.world.node
        if node.is_paused:
            node.wake()
        self.dice.choice((node.kill, node.lose_power, node.stop))()
        self.world.run(self.dice.uniform(0.5, 8.0))
        node.start()

    def node_sleeps(self) -> None:
        node = self.world.node
        if not node.is_paused:
            node.pause()
            self.world.run(self.dice.choice((1.0, 6.0, 12.0, 30.0, 70.0)))
            node.wake()

    # -- the walk -----------------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[int, Callable[[], None]]]:
        """What may happen, and how often."""
        return [
            (6, self.join), (4, self.watch), (5, self.update), (3, self.close), (3, self.reopen), (5, self.drop),
            (3, self.mark), (3, self.set_status), (5, self.join_room), (2, self.leave_room),
            (2, self.kick_from_room), (1, self.end_room), (7, self.invite), (8, self.answer),
            (3, self.silence), (3, self.heal), (2, self.sleep), (2, self.wake), (2, self.die), (1, self.jump),
            (1, self.kick), (1, self.node_dies), (1, self.node_sleeps), (2, self.issuers_change),
        ]  # fmt: skip

    def run(self) -> None:
        """Walk, rest, judge, end, judge. Raises WalkError."""
        try:
            self._walk()
            self._rest()
            self._judge(AT_REST)
            self._end()
            self._judge(AT_THE_END)
        except WalkError:
            raise
        except Exception as error:
            raise WalkError(f"{type(error).__name__}: {error}\n{self.world.story()}") from error

    def _walk(self) -> None:
        weights, actions = zip(*self.steps(), strict=True)
        self.issuers_change()
        self.join()
        self.join()
        self.world.run(1.0)
        for _ in range(STEPS):
            self.dice.choices(actions, weights)[0]()
            self.world.run(self.dice.choice((0.0, 0.01, 0.1, 0.5, 2.0, 5.0, 12.0, 45.0)))

    def _rest(self) -> None:
        self.heal()
        self.wake()
        for app in self._alive():
            app.clock.offset = 0.0
        self.world.note("everything is healed")
        self.world.run(REST)

    def _end(self) -> None:
        self.world.note("everybody leaves")
        for app in self._alive():
            self._begin(app, app.sdk.session.close())
        self.world.run(LAST)

    def _judge(self, oracles: Any) -> None:
        wrong = [line for oracle in oracles for line in oracle(self.world)]
        if wrong:
            raise WalkError("\n".join([f"seed {self.seed}:", *wrong, self.world.story()]))

    def close_world(self) -> None:
        """Nothing is left."""
        self.world.close()


def walk(seed: int, make_world: Callable[[int], World] = World) -> list[tuple[float, str]]:
    """One walk to its end. The timeline. Raises WalkError."""
    return finish(Walk(seed, make_world))


def finish(one: Walk) -> list[tuple[float, str]]:
    """Walks it to its end. The timeline. Raises WalkError."""
    try:
        one.run()
        return one.world.notes
    finally:
        one.close_world()


def walk_all(walk: Callable[[int], object], first: int, last: int) -> None:
    """The seeds from the first to the one before the last."""
    print(f"seeds {first} to {last - 1}")
    for seed in range(first, last):
        walk(seed)
