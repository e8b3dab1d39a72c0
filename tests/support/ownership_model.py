"""An exhaustive model of who owns a session: two nodes, one client, one engine (S7, promise 3).

Three guards keep a session from being served or ended by a node that lost it:

* ``generation``: a write counts only with the stored generation, which rises at every attach;
* ``lease``: a write counts only with the stored lease id, which ends when the node's lease lapses;
* ``self_fence``: a node stops acting before its lease can lapse, and looks at its clock first when it wakes up.

`search` walks every order of connect, half-open, drop, pause, cut-off, lapse, crash, late write and late clean-up, and
returns the shortest trace that breaks an invariant, or None where there is none. With all guards there is none; with
any one switched off there is one, or the guard would not be needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

NODES = (0, 1)
MAX_GENERATION = 3
"""Attaches explored. Every known failure needs two."""
MAX_IN_FLIGHT = 2
"""Writes under way to the engine at the same time."""


@dataclass(frozen=True, slots=True)
class Guards:
    """Which guards are on."""

    generation: bool = True
    lease: bool = True
    self_fence: bool = True


class Life(StrEnum):
    """What a node's process is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: what it believes, and what the engine believes of it."""

    life: Life = Life.RUNNING
    cut_off: bool = False
    lease: int = 1
    """Id of the lease the node uses now."""
    lapsed: bool = False
    """The engine's view of that lease."""
    fenced: bool = False
    held: int = 0
    """Generation of the session the node holds a connection for, 0 for none."""
    held_lease: int = 0
    """Under which lease it was attached."""

    @property
    def acts(self) -> bool:
        """Whether the node believes that it may act for what it holds."""
        return self.life is Life.RUNNING and not self.fenced and self.held > 0


@dataclass(frozen=True, slots=True)
class Write:
    """A write on its way to the engine."""

    kind: str
    node: int
    generation: int
    lease: int


@dataclass(frozen=True, slots=True)
class World:
    """The whole state. owner: -1 where the session is detached."""

    nodes: tuple[Node, Node] = (Node(), Node())
    generation: int = 0
    owner: int = -1
    owner_lease: int = 0
    client: tuple[int, int] = (-1, 0)
    """The node and generation of the connection that the client believes in."""
    writes: tuple[Write, ...] = ()
    broken: str = ""


Step = tuple[str, World]


def _with(world: World, index: int, node: Node) -> World:
    nodes = (node, world.nodes[1]) if index == 0 else (world.nodes[0], node)
    return replace(world, nodes=nodes)


def _reaches(node: Node) -> bool:
    return node.life is Life.RUNNING and not node.cut_off


def _connects(world: World, index: int) -> Iterator[Step]:
    node = world.nodes[index]
    if not _reaches(node) or node.lapsed or node.fenced or world.generation >= MAX_GENERATION:
        return
    generation = world.generation + 1
    after = _with(world, index, replace(node, held=generation, held_lease=node.lease))
    yield (
        f"client attaches at node {index}: generation {generation}",
        replace(after, generation=generation, owner=index, owner_lease=node.lease, client=(index, generation)),
    )


def _link_steps(world: World, index: int) -> Iterator[Step]:
    node = world.nodes[index]
    if world.client == (index, node.held) and node.held:
        yield f"the link to node {index} goes silent (half-open)", replace(world, client=(-1, 0))
    if node.held and node.life is Life.RUNNING:
        dropped = replace(world, client=(-1, 0)) if world.client == (index, node.held) else world
        dropped = _with(dropped, index, replace(node, held=0))
        if len(world.writes) < MAX_IN_FLIGHT:
            cleanup = Write("detach", index, node.held, node.held_lease)
            yield (
                f"node {index} sees its connection end and sends detach",
                replace(dropped, writes=(*world.writes, cleanup)),
            )
    if node.acts and len(world.writes) < MAX_IN_FLIGHT:
        update = Write("update", index, node.held, node.held_lease)
        yield f"node {index} sends an update for its session", replace(world, writes=(*world.writes, update))


def _life_steps(world: World, index: int, guards: Guards) -> Iterator[Step]:
    node = world.nodes[index]
    if node.life is Life.RUNNING:
        yield f"node {index} is paused", _with(world, index, replace(node, life=Life.PAUSED))
        crashed = replace(world, client=(-1, 0)) if world.client[0] == index else world
        yield (
            f"node {index} crashes",
            _with(crashed, index, replace(node, life=Life.CRASHED, held=0, fenced=False)),
        )
        if not node.cut_off:
            yield f"node {index} is cut off from the engine", _with(world, index, replace(node, cut_off=True))
        if node.cut_off and guards.self_fence and not node.fenced:
            yield f"node {index} fences itself", _with(world, index, replace(node, fenced=True))
    if node.life is Life.PAUSED:
        # The clock is read before anything else: a node that slept too long wakes up fenced.
        fenced = node.fenced or (guards.self_fence and node.lapsed)
        yield f"node {index} wakes up", _with(world, index, replace(node, life=Life.RUNNING, fenced=fenced))
    if node.life is Life.CRASHED and node.lapsed:
        yield f"node {index} starts again", _with(world, index, Node(lease=node.lease + 1))


def _lease_steps(world: World, index: int, guards: Guards) -> Iterator[Step]:
    node = world.nodes[index]
    silent = node.life is not Life.RUNNING or node.cut_off
    stopped = node.life is not Life.RUNNING or node.fenced or not guards.self_fence
    if silent and stopped and not node.lapsed:
        # fence (7 s) < lease (10 s): a running node has fenced itself before this can happen.
        yield f"the lease of node {index} lapses", _with(world, index, replace(node, lapsed=True))
    if node.life is Life.RUNNING and node.cut_off and not node.lapsed:
        yield f"node {index} reaches the engine again", _with(world, index, replace(node, cut_off=False, fenced=False))
    if node.life is Life.RUNNING and node.lapsed and (node.fenced or not guards.self_fence) and node.lease < 3:
        back = replace(node, cut_off=False, lapsed=False, fenced=False, lease=node.lease + 1)
        mine = (node.held, node.held_lease) == (world.generation, world.owner_lease) and node.held > 0
        if mine and world.owner in (index, -1) and world.generation < MAX_GENERATION:
            generation = world.generation + 1
            back = replace(back, held=generation, held_lease=back.lease)
            client = (index, generation) if world.client == (index, node.held) else world.client
            taken = replace(world, generation=generation, owner=index, owner_lease=back.lease, client=client)
            yield f"node {index} joins again and takes its session back", _with(taken, index, back)
        elif guards.self_fence:
            gone = replace(world, client=(-1, 0)) if world.client == (index, node.held) else world
            yield f"node {index} joins again and drops what it lost", _with(gone, index, replace(back, held=0))
    if world.owner == index and node.lapsed:
        # The lease id stays with the record, so that its node may take the session back (S7), but owns it no more.
        yield f"the reaper detaches the session of node {index}", replace(world, owner=-1)


def _accepted(world: World, write: Write, guards: Guards) -> bool:
    if guards.generation and write.generation != world.generation:
        return False
    if guards.lease:
        return world.owner >= 0 and write.lease == world.owner_lease and not world.nodes[world.owner].lapsed
    return True


def _arrivals(world: World, guards: Guards) -> Iterator[Step]:
    for write in dict.fromkeys(world.writes):
        rest = list(world.writes)
        rest.remove(write)
        after = replace(world, writes=tuple(rest))
        text = f"{write.kind} of node {write.node}, generation {write.generation}, arrives"
        if not _accepted(world, write, guards):
            yield f"{text} and is refused", after
            continue
        current = world.owner == write.node and world.generation == write.generation
        owns = current and not world.nodes[write.node].lapsed
        if not owns:
            after = replace(after, broken=f"a {write.kind} of a node that does not own the session was taken")
        if write.kind == "detach":
            after = replace(after, owner=-1)
        yield f"{text} and is taken", after


def _judge(world: World) -> str:
    if world.broken:
        return world.broken
    node, generation = world.client
    acts_well = node >= 0 and world.nodes[node].acts and not world.nodes[node].lapsed
    if acts_well and generation == world.generation and world.owner != node:
        return "a session with a live connection was taken for gone"
    for index in NODES:
        if world.nodes[index].acts and world.nodes[index].lapsed and world.owner == 1 - index:
            return f"node {index} acts for a session that node {1 - index} owns"
    return ""


def steps(world: World, guards: Guards) -> Iterator[Step]:
    """Everything that can happen next."""
    for index in NODES:
        yield from _connects(world, index)
        yield from _link_steps(world, index)
        yield from _life_steps(world, index, guards)
        yield from _lease_steps(world, index, guards)
    yield from _arrivals(world, guards)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found. trace is empty where nothing is broken; states: how many were looked at."""

    trace: tuple[str, ...]
    verdict: str
    states: int
    depth: int


def search(guards: Guards, depth: int = 10) -> Found:
    """Looks at every state that can be reached in at most ``depth`` steps, nearest first."""
    start = World()
    came_from: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([(start, 0)])
    deepest = 0
    while queue:
        world, steps_so_far = queue.popleft()
        deepest = max(deepest, steps_so_far)
        verdict = _judge(world)
        if verdict:
            return Found(_trace(came_from, world), verdict, len(came_from), steps_so_far)
        if steps_so_far < depth:
            for text, after in steps(world, guards):
                if after not in came_from:
                    came_from[after] = (world, text)
                    queue.append((after, steps_so_far + 1))
    return Found((), "", len(came_from), deepest)


def _trace(came_from: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    texts: list[str] = []
    step = came_from[world]
    while step is not None:
        world, text = step
        texts.append(text)
        step = came_from[world]
    return tuple(reversed(texts))
