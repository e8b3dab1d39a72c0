"""An exhaustive model of how a roster follows rows (R2): one participant with two sessions, one room, two nodes.

Every interleaving of what sessions do, of the steps of settling on two nodes (the maker of a mark, a reaper whose claim
has run out, in any order and at any time), of crashes in every gap, of time that passes while a node stands still, of a
room that fills up, and of kicks. Numbers are judged by `judge`, as the Redis engine does it.

An instant is a multiple of OLDEST_NUMBER: all that happens between two of them happens at one, in every order. Numbers
of one instant differ, as microseconds do. That one node at a time has a mark (`MARK_CLAIM`) only saves work: here two
have it whenever they like.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from greenroom.core.rooms.marks import next_number
from greenroom.engines.rooms import OLDEST_NUMBER, REMOVAL_MEMORY

INSTANT_US = int(OLDEST_NUMBER * 1_000_000)
MEMORY = int(REMOVAL_MEMORY / OLDEST_NUMBER)
"""Instants for which last numbers are kept."""
ROUNDS = 30
"""Steps in which a reaper alone must make the roster follow."""


class Verdict(Enum):
    """What a room's partition does with a participant's part that was read under a number."""

    TAKEN = "taken"
    BEHIND = "behind"
    """This number, or a newer one, was taken before. Where the mark still has it, it gets one above the last: the clock
    may have given a number to two changes. Then the part is read again."""
    TOO_OLD = "too_old"
    """Of a participant whom the room does not know any more, or not yet: what came after the number may have been
    forgotten. The part is read again under a new one."""


def judge(number: int, last: int | None, now_us: int, oldest_us: int) -> Verdict:
    """What is done with a part read under `number`.

    last: the number that was taken last of the participant in the room, also after it left; None: it is not known.
    oldest_us: microseconds for which a number counts where none is known; less than last numbers are kept for.
    """
    if last is not None:
        return Verdict.TAKEN if number > last else Verdict.BEHIND
    return Verdict.TOO_OLD if number < now_us - oldest_us else Verdict.TAKEN


class Guard(Enum):
    """What keeps the roster right. Each can be switched off."""

    NEW_NUMBER = "each change of the row gives the mark a new number"
    ONE_FUNCTION = "the part is read together with the mark's number, not before it"
    ABOVE_LAST = "only a number above the last is taken"
    NOT_TOO_OLD = "an old number of someone unknown is refused"
    MEMORY = "last numbers are kept after leaving, also when the room has ended"
    LONG_MEMORY = "they are kept for longer than a number may be old"
    RENUMBER = "a number that is not above the last is given again, above it"
    UNCHANGED = "a mark goes only if its number is unchanged"
    COUNTER_MARK = "a refusal leaves a counter-mark until the row has dropped the room"
    COUNTER_MARK_REFUSES = "while there is one the room refuses"
    UP_TO = "a row drops what was joined up to the refused number, and nothing later"
    DROP_IS_MARKED = "a row that drops the room is marked, above the refused number"


class Step(Enum):
    """Where a node stands. IDLE: nowhere, or it crashed."""

    IDLE = 0
    HALF_READ = 1
    TAKE = 2
    REMOVE = 3
    DROP = 4
    RENUMBER = 5


class Hand(NamedTuple):
    """What one node has read, and what it does next."""

    step: int = 0
    number: int = 0
    rows: int = 0
    record: int = 0
    above: int = 0
    joins: int = 0
    """How many joins there had been when it was read: for the oracle alone."""


IDLE = Hand()


class World(msgspec.Struct, frozen=True, gc=False, kw_only=True, cache_hash=True):
    """Everything. The participant's partition, the room's, the nodes, and what may happen yet."""

    now: int = 1
    rows: int = 0
    """Which sessions are in the room, a bit for each."""
    record: int = 0
    """The participant's name and the like, counted."""
    mark: int = 0
    """Its number; 0: there is none."""
    joined: int = 0
    """Number of the latest join."""

    roster: int = 0
    """The sessions that the room has; 0: the participant is no member."""
    roster_record: int = 0
    last: int = 0
    """0: the participant is unknown."""
    left_at: int = 0
    counter_mark: int = 0
    full: bool = False

    joins: int = 0
    refused: int = 0
    """Joins so far, and up to which they were refused: for the oracle alone."""
    given: int = 0
    """Where the clock is within the instant."""
    set_back: bool = False
    """It was: then a join may have a lower number than a refusal before it, and be thrown out (its client gets it)."""

    nodes: tuple[Hand, Hand] = (IDLE, IDLE)
    changes: int = 0
    instants: int = 0
    others: int = 0
    """How many changes of rows, instants, and things that others do, are to come."""

    @property
    def now_us(self) -> int:
        return self.now * INSTANT_US + self.given


class Wrong(Exception):
    """An oracle objects."""


class Model:
    """The protocol. off: the guard that is switched off."""

    def __init__(self, off: Guard | None = None) -> None:
        self.off = off

    def _number(self, w: World, last: int) -> tuple[World, int]:
        """Each is a microsecond later."""
        return replace(w, given=w.given + 1), next_number(last, w.now_us)

    # -- what may happen -----------------------------------------------------------------------------------------

    def successors(self, w: World) -> Iterator[tuple[str, World]]:
        """Everything that may happen next, with what it is called. Raises Wrong."""
        if w.changes:
            yield from self._changes(w)
        if w.instants:
            yield "time passes", self._pass_time(w)
        if w.others:
            left = replace(w, others=w.others - 1)
            yield ("others leave" if w.full else "others fill the room"), replace(left, full=not w.full)
            yield "kick", self._kick(left)
            if w.given > 1:
                yield "the clock is set back", replace(left, given=0, set_back=True)
        for node in (0, 1):
            hand = w.nodes[node]
            if hand.step == Step.IDLE.value:
                if w.mark:
                    yield "a node reads the mark", self._read(w, node)
                if w.counter_mark:
                    yield "a node reads the counter-mark", hold(w, node, Step.DROP, w.counter_mark)
                if w.nodes == (IDLE, IDLE):
                    break  # one is as good as the other
            else:
                yield _name(hand), self._go_on(w, node, hand)
                yield f"{_name(hand)}: it crashed before", set_hand(w, node, IDLE)

    def _changes(self, w: World) -> Iterator[tuple[str, World]]:
        left = replace(w, changes=w.changes - 1)
        for session in (1, 2):
            is_in = bool(w.rows & session)
            name = f"session {session} " + ("leaves" if is_in else "joins")
            changed = self._mark(replace(left, rows=w.rows ^ session))
            if not is_in:
                changed = replace(changed, joined=changed.mark, joins=changed.joins + 1)
            yield from self._settled_by(name, changed)
            if not w.rows:
                break  # one session is as good as the other
        if w.rows:
            yield from self._settled_by("the record changes", self._mark(replace(left, record=w.record + 1)))

    def _settled_by(self, name: str, w: World) -> Iterator[tuple[str, World]]:
        """A node that is free settles it at once, or is no longer there."""
        yield name, w
        for node in (0, 1):
            if w.nodes[node].step == Step.IDLE.value:
                yield f"{name}, and its node has read it", self._read(w, node)
                return

    # -- the participant's partition -----------------------------------------------------------------------------

    def _mark(self, w: World, above: int = 0) -> World:
        if self.off is Guard.NEW_NUMBER and w.mark:
            return w
        w, number = self._number(w, max(w.mark, above))
        return replace(w, mark=number)

    def _read(self, w: World, node: int) -> World:
        if self.off is Guard.ONE_FUNCTION:
            return set_hand(w, node, Hand(Step.HALF_READ.value, 0, w.rows, w.record, joins=w.joins))
        return set_hand(w, node, Hand(Step.TAKE.value, w.mark, w.rows, w.record, joins=w.joins))

    def _remove(self, w: World, node: int, number: int) -> World:
        if w.mark == number or self.off is Guard.UNCHANGED:
            w = replace(w, mark=0)
        return set_hand(w, node, IDLE)

    def _drop(self, w: World, node: int, upto: int) -> World:
        """The row drops the room, and is read again."""
        if (w.mark <= upto and w.joined <= upto) or self.off is Guard.UP_TO:
            if w.rows and w.roster and w.last > upto and not w.set_back:
                raise Wrong("a member whom the room took after the refusal was thrown out")
            w = replace(w, rows=0)
            if self.off is Guard.DROP_IS_MARKED:
                return set_hand(w, node, Hand(Step.TAKE.value, w.mark or upto, 0, w.record))
            w = self._mark(w, upto)
        elif not w.mark:
            w = self._mark(w, upto)
        return self._read(w, node)

    def _renumber(self, w: World, node: int, hand: Hand) -> World:
        if w.mark == hand.number:
            w = self._mark(w, hand.above)
        return self._read(w, node) if w.mark else set_hand(w, node, IDLE)

    # -- the room's partition ------------------------------------------------------------------------------------

    def _take(self, w: World, node: int, hand: Hand) -> World:
        number = hand.number
        verdict = judge(number, w.last or None, w.now_us, INSTANT_US)
        if verdict is Verdict.TOO_OLD and self.off is not Guard.NOT_TOO_OLD:
            return hold(w, node, Step.RENUMBER, number)
        if verdict is Verdict.BEHIND and self.off is not Guard.ABOVE_LAST:
            if self.off is Guard.RENUMBER:
                return hold(w, node, Step.REMOVE, number)
            return set_hand(w, node, Hand(Step.RENUMBER.value, number, above=w.last))
        if not hand.rows:
            w = self._leave(replace(w, counter_mark=0), number)
            return hold(w, node, Step.REMOVE, number)
        kept_out = w.counter_mark and self.off is not Guard.COUNTER_MARK_REFUSES
        if kept_out or (w.full and not w.roster):
            w = self._leave(w, number)
            if self.off is not Guard.COUNTER_MARK:
                w = replace(w, counter_mark=number)
            return hold(replace(w, refused=max(w.refused, hand.joins)), node, Step.DROP, number)
        if w.roster and hand.record < w.roster_record:
            raise Wrong("an older record came after a newer one")
        if hand.joins <= w.refused:
            raise Wrong("a join that was refused became a membership")
        w = replace(w, roster=hand.rows, roster_record=hand.record, last=number, counter_mark=0)
        return hold(w, node, Step.REMOVE, number)

    def _leave(self, w: World, number: int) -> World:
        last = 0 if self.off is Guard.MEMORY else number
        return replace(w, roster=0, last=last, left_at=w.now)

    def _kick(self, w: World) -> World:
        """It is out at once, and the row is to drop the room."""
        w, number = self._number(w, w.last)
        w = self._leave(w, number)
        return w if self.off is Guard.COUNTER_MARK else replace(w, counter_mark=max(w.counter_mark, number))

    def _pass_time(self, w: World) -> World:
        w = replace(w, now=w.now + 1, given=0, instants=w.instants - 1)
        memory = 1 if self.off is Guard.LONG_MEMORY else MEMORY
        if not w.roster and w.last and w.now - w.left_at >= memory:
            w = replace(w, last=0)
        return w

    # -- nodes ---------------------------------------------------------------------------------------------------

    def _go_on(self, w: World, node: int, hand: Hand) -> World:
        match Step(hand.step):
            case Step.HALF_READ:
                return set_hand(w, node, hand._replace(step=Step.TAKE.value, number=w.mark) if w.mark else IDLE)
            case Step.TAKE:
                return self._take(w, node, hand)
            case Step.REMOVE:
                return self._remove(w, node, hand.number)
            case Step.DROP:
                return self._drop(w, node, hand.number)
            case _:
                return self._renumber(w, node, hand)

    def reap(self, w: World) -> World:
        """What a reaper makes of it alone. Raises Wrong where it never comes to an end."""
        w = replace(w, nodes=(IDLE, IDLE))
        for _ in range(ROUNDS):
            if w.nodes[0].step != Step.IDLE.value:
                w = self._go_on(w, 0, w.nodes[0])
            elif w.mark:
                w = self._read(w, 0)
            elif w.counter_mark:
                w = hold(w, 0, Step.DROP, w.counter_mark)
            else:
                return w
        raise Wrong("a reaper never came to an end")


def _name(hand: Hand) -> str:
    return f"a node's step {Step(hand.step).name}"


def set_hand(w: World, node: int, hand: Hand) -> World:
    """Nodes are interchangeable: which one has what makes no other world."""
    other = w.nodes[1 - node]
    nodes = (hand, other) if node == 0 else (other, hand)
    return replace(w, nodes=nodes)


def hold(w: World, node: int, step: Step, number: int) -> World:
    return set_hand(w, node, Hand(step.value, number))


def canonical(w: World) -> World:
    """The same world with smaller numbers: their order counts, and at which instants they were given. So those that
    nodes give again and again, one above the other, come to an end."""
    numbers = {w.mark, w.joined, w.last, w.counter_mark, w.now_us}
    for hand in w.nodes:
        numbers |= {hand.number, hand.above}
    numbers.discard(0)
    smaller = {0: 0}
    before = rank = 0
    for number in sorted(numbers):
        instant = number // INSTANT_US
        # Two apart, so that one above the last is another than the next.
        rank = rank + 2 if instant == before else 2
        before = instant
        smaller[number] = instant * INSTANT_US + rank
    first, second = (
        hand._replace(number=smaller[hand.number], above=smaller[hand.above]) if hand.number else hand
        for hand in w.nodes
    )
    return replace(
        w,
        mark=smaller[w.mark],
        joined=smaller[w.joined] if w.rows else 0,
        last=smaller[w.last],
        counter_mark=smaller[w.counter_mark],
        nodes=(first, second) if first <= second else (second, first),
        left_at=w.left_at if w.last and not w.roster else 0,
        given=smaller[w.now_us] % INSTANT_US,
    )


def check(w: World) -> None:
    """Where no mark is left, and no counter-mark, the roster is what the rows say. Raises Wrong."""
    if w.mark or w.counter_mark:
        return
    if w.rows and not w.roster:
        raise Wrong("a session is missing from its roster, and nobody will look again")
    if w.roster and not w.rows:
        raise Wrong("a member without a session, and nobody will look again")
    if w.rows != w.roster or (w.roster and w.record != w.roster_record):
        raise Wrong("the roster shows what was before, and nobody will look again")


class Explored(NamedTuple):
    """worlds: how many there are. wrong: what an oracle objected to, if any did. trace: how it came to that."""

    worlds: int
    wrong: str | None = None
    trace: tuple[str, ...] = ()


def explore(model: Model, first: World, most: int = 10_000_000) -> Explored:
    """Every world that can come of the first one, the nearest first. most: worlds after which it gives up."""
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    reaped: set[World] = set()
    layer = [first]
    while layer:
        following: list[World] = []
        for w in layer:
            name = ""
            try:
                check(w)
                name = "a reaper alone"
                alone = canonical(replace(w, nodes=(IDLE, IDLE), changes=0, instants=0, others=0))
                if alone not in reaped:
                    reaped.add(alone)
                    check(model.reap(alone))
                name = "one step more"
                for name, following_world in model.successors(w):
                    after = canonical(following_world)
                    if after not in came_from:
                        came_from[after] = (w, name)
                        following.append(after)
            except Wrong as wrong:
                return Explored(len(came_from), str(wrong), _trace(came_from, w, name))
        if len(came_from) > most:
            raise AssertionError(f"more than {most} worlds")
        layer = following
    return Explored(len(came_from))


def _trace(came_from: dict[World, tuple[World, str] | None], w: World, name: str) -> tuple[str, ...]:
    names = [name] if name else []
    step = came_from[w]
    while step is not None:
        w, name = step
        names.append(name)
        step = came_from[w]
    return tuple(reversed(names))
