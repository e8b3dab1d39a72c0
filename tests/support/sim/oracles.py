"""What must be so in every world, whatever happened in it. Each oracle returns what is wrong, a line each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from greenroom.core.presence import AVAILABLE
from greenroom.core.requests import ParticipantQuery
from greenroom.core.rooms.requests import RoomQuery, Roster, RosterQuery
from greenroom.core.states import SessionState
from greenroom.engines.base import SessionQuery
from greenroom.model import Event, ParticipantRecord, Presence, SessionRecord, participant_id_of

if TYPE_CHECKING:
    from tests.support.sim.world import World


def events_of(world: World) -> list[Event]:
    """Every event of the world's application, in order."""

    async def read() -> list[Event]:
        found: list[Event] = []
        cursor: str | None = None
        while True:
            page = await world.node.engine.outbox.read(world.application.key, cursor, 500)
            if not page.items:
                return found
            found.extend(page.items)
            cursor = page.cursor

    return world.node.run(read())


def sessions_of(world: World) -> tuple[SessionRecord, ...]:
    """The sessions that the engine lists."""
    query = SessionQuery(app=world.application.key, limit=1000)
    return world.node.run(world.node.engine.registry.sessions(query)).items


def record_of(world: World, external_id: str) -> ParticipantRecord:
    """A participant as stored."""
    return record_by_id(world, participant_id_of(world.application.namespace, external_id))


def record_by_id(world: World, participant_id: str) -> ParticipantRecord:
    """A participant as stored."""
    query = ParticipantQuery(app=world.application.key, ids=[participant_id])
    return world.node.run(world.node.engine.registry.participants(query)).items[0]


def rosters_of(world: World) -> dict[str, Roster]:
    """Of the rooms that are open."""
    app, rooms = world.application.key, world.node.engine.rooms
    names = [room.name for room in world.node.run(rooms.rooms(RoomQuery(app=app))).items]

    async def read(name: str) -> Roster:
        return await rooms.roster(RosterQuery(app=app, room=name))

    return {name: world.node.run(read(name)) for name in names}


def one_end_each(world: World) -> Iterator[str]:
    """Exactly one terminal event for each session that was opened, none for what was not (promise 3)."""
    events = events_of(world)
    opened = Counter(event.session_id for event in events if event.type == "session.opened")
    ended = Counter(event.session_id for event in events if event.type == "session.ended")
    alive = {session.id for session in sessions_of(world)}
    for session_id, times in opened.items():
        if times != 1:
            yield f"session {session_id} was opened {times} times"
        if ended[session_id] != (0 if session_id in alive else 1):
            yield f"session {session_id} has {ended[session_id]} ends; alive: {session_id in alive}"
    for session_id in ended.keys() - opened.keys():
        yield f"session {session_id} ended and was never opened"
    for event in events:
        if event.type == "session.ended" and not event.data.get("reason"):
            yield f"session {event.session_id} ended without a reason"


def order_of_events(world: World) -> Iterator[str]:
    """Events of one participant are in order: a session is opened before it ends, and counts are never negative."""
    present: dict[str, set[str]] = {}
    shown: dict[str, str] = {}
    for event in events_of(world):
        sessions = present.setdefault(event.participant_id, set())
        if event.type == "session.opened":
            sessions.add(event.session_id or "")
        elif event.type == "session.ended":
            if event.session_id not in sessions:
                yield f"{event.session_id} ended before it was opened"
            sessions.discard(event.session_id or "")
        elif event.type.startswith("participant.") and event.type != "participant.updated":
            kind = event.type.partition(".")[2]
            if kind == shown.get(event.participant_id, "offline"):
                yield f"{event.participant_id} was published as {kind} twice in a row"
            if kind == "offline" and sessions:
                yield f"{event.participant_id} was published as offline with {len(sessions)} sessions"
            shown[event.participant_id] = kind


def versions_only_grow(world: World) -> Iterator[str]:
    """No observer sees an older version after a newer one (promise 5)."""
    for app in world.apps:
        for participant_id, seen in app.seen.items():
            versions = [participant.version for participant in seen]
            for before, after in pairwise(versions):
                if after <= before:
                    yield f"{app.name} saw {participant_id} at {after} after {before}"


def is_open_never_lies(world: World) -> Iterator[str]:
    """After the world has come to rest: an app that says it is open has a session that is attached, and no other."""
    attached = {session.id for session in sessions_of(world) if session.state == "attached"}
    for app in world.apps:
        if not app.is_alive:
            continue
        machine = app.sdk._runner.machine
        if app.sdk.session.is_open() and app.sdk.session.state is SessionState.CONNECTED:
            if machine.session_id not in attached:
                yield f"{app.name} is connected, and the engine does not list its session as attached"
        elif app.sdk.session.is_open():
            yield f"{app.name} is {app.sdk.session.state} although nothing keeps it from the service"
        elif machine.session_id is not None:
            yield f"{app.name} is not open and has a session"


def watchers_converged(world: World) -> Iterator[str]:
    """After rest: what each connected watcher holds is what is stored and shown (promise 5)."""
    for app in world.apps:
        if not app.is_alive or app.sdk.session.state is not SessionState.CONNECTED:
            continue
        for watch in app.watches:
            for held in watch.participants.values():
                record = record_by_id(world, held.id)
                # Nothing is stored of a participant whom a Redis that lost its data, or the reaper, has forgotten.
                if held.presence != record.shown or (record.version and held.version != record.version):
                    yield (
                        f"{app.name} holds {record.external_id or held.id} as {held.presence.value}"
                        f" (version {held.version}), stored is {record.shown.value} (version {record.version})"
                    )


def updates_are_kept(world: World) -> Iterator[str]:
    """An acknowledged update is never lost: the record has at least its revision, and its name unless changed since."""
    for external_id, (revision, name) in world.acknowledged.items():
        record = record_of(world, external_id)
        if record.revision < revision:
            yield f"{external_id} was acknowledged at revision {revision} and is stored at {record.revision}"
        elif record.revision == revision and record.name != name:
            yield f"{external_id} was acknowledged as {name!r} and is stored as {record.name!r}"


def attributes_are_kept(world: World) -> Iterator[str]:
    """An acknowledged attribute is never lost, and nobody sees it go back (promise 5)."""
    for (external_id, name), number in world.marks.items():
        stored = (record_of(world, external_id).attributes or {}).get(name)
        if stored is None or int(stored) < number:
            yield f"{name} was acknowledged with the mark {number} and is stored with {stored}"
    for app in world.apps:
        for participant_id, seen in app.seen.items():
            for before, after in pairwise(seen):
                for name, mark in before.attributes.items():
                    if int(after.attributes.get(name, "0")) < int(mark):
                        yield f"{app.name} saw the mark {name} of {participant_id} go back from {mark}"


def statuses_are_kept(world: World) -> Iterator[str]:
    """An acknowledged status is that of its session, and a participant's is that of the most available session."""
    sessions = {session.id: session for session in sessions_of(world)}
    for app in world.apps:
        if not app.is_alive or app.sdk.session.state is not SessionState.CONNECTED:
            continue
        session = sessions.get(app.sdk._runner.machine.session_id or "")
        stored = None if session is None else session.status or AVAILABLE
        if stored is not None and stored != app.sdk.session.status and stored not in app.open_statuses:
            yield f"{app.name} was acknowledged as {app.sdk.session.status} and is stored as {stored}"
    for participant_id in {session.participant_id for session in sessions.values()}:
        own = [one.status for one in sessions.values() if one.participant_id == participant_id]
        record = record_by_id(world, participant_id)
        texts = {one for one in own if one not in (None, "away", "busy")}
        expected = {None} if None in own else texts or {"busy" if "busy" in own else "away"}
        if record.status not in expected:
            yield f"{record.external_id} is shown as {record.status}, and the sessions say {own}"


def opens_are_kept(world: World) -> Iterator[str]:
    """A session that was acknowledged to an app is known: it was opened, whatever became of it (promise 1)."""
    known = {event.session_id for event in events_of(world) if event.type == "session.opened"}
    for session_id in sorted(world.opened - known):
        yield f"session {session_id} was acknowledged, and nobody knows of it"


def events_have_the_names(world: World) -> Iterator[str]:
    """The last event about a participant has the name that is stored: a change and its event are one step."""
    last = {event.participant_id: event for event in events_of(world) if event.type.startswith("participant.")}
    for participant_id, event in last.items():
        record = record_by_id(world, participant_id)
        if record.version and (record.name, record.revision) != (event.data["name"], event.data["revision"]):
            yield f"{record.external_id} is {record.name!r} and was last published as {event.data['name']!r}"


def kicks_are_kept(world: World) -> Iterator[str]:
    """What an acknowledged kick has ended stays ended, and by the kick (promise 7)."""
    reasons = {
        event.session_id: event.data.get("reason") for event in events_of(world) if event.type == "session.ended"
    }
    for session_id in sorted(world.kicked):
        if reasons.get(session_id) != "kicked":
            yield f"session {session_id} was kicked, and its end says {reasons.get(session_id)}"


def wrong_events(events: list[Event]) -> Iterator[str]:
    """One `left` for each `joined`, of each room and participant; a room is opened and ended in turn."""
    seen: dict[tuple[str, str], list[str]] = {}
    ids = set()
    for event in events:
        if not event.type.startswith("room."):
            continue
        if event.id in ids:
            yield f"{event.id} came twice"
        ids.add(event.id)
        who = event.participant_id if event.type in ("room.joined", "room.left") else ""
        seen.setdefault((event.data["room"], who), []).append(event.type)
    for (room, who), types in seen.items():
        first = "room.joined" if who else "room.opened"
        if types[0] != first or any(before == after for before, after in pairwise(types)):
            yield f"{who or 'the room'} in {room}: {types}"


def room_events_come_in_pairs(world: World) -> Iterator[str]:
    """One `left` for each `joined`, whatever ended the stay; nobody joins a room that is not open (R3)."""
    yield from wrong_events(events_of(world))


def rosters_are_of_sessions(world: World) -> Iterator[str]:
    """No member without a session, no session that is missing from its roster (R2)."""
    rows: Counter[tuple[str, str]] = Counter()
    for session in sessions_of(world):
        rows.update((room, session.participant_id) for room in session.rooms)
    members = {
        (name, member.id): member.sessions for name, roster in rosters_of(world).items() for member in roster.members
    }
    for room, participant_id in sorted({*rows, *members}):
        pair = (room, participant_id)
        if rows[pair] != members.get(pair, 0):
            yield f"{participant_id} has {rows[pair]} sessions in {room}, its roster says {members.get(pair, 0)}"


def rosters_converged(world: World) -> Iterator[str]:
    """After rest: what each connected member holds of its rooms is what is stored (R5)."""
    rosters = rosters_of(world)
    for app in world.apps:
        if not app.is_alive or app.sdk.session.state is not SessionState.CONNECTED:
            continue
        for name, room in app.rooms.items():
            if not room.is_member:
                continue
            stored = rosters.get(name)
            held = {one.id: one.sessions for one in room.members.values()}
            wanted = {} if stored is None else {one.id: one.sessions for one in stored.members}
            if stored is None or (held, room.version) != (wanted, stored.version):
                version = None if stored is None else stored.version
                yield f"{app.name} holds {name} as {held} ({room.version}), stored is {wanted} ({version})"


def room_versions_only_grow(world: World) -> Iterator[str]:
    """No member sees an older roster after a newer one (R5)."""
    for app in world.apps:
        for name, versions in app.room_versions.items():
            for before, after in pairwise(versions):
                if after <= before:
                    yield f"{app.name} saw {name} at {after} after {before}"


def who_is_kept_out_is_not_there(world: World) -> Iterator[str]:
    """Whom an acknowledged kick keeps out of a room is not in it (R8)."""
    for session in sessions_of(world):
        for room in session.rooms:
            until = world.kept_out.get((room, session.participant_id))
            if until is not None and until > world.timeline.now + 60.0:
                yield f"{session.external_id} was kicked from {room}, and is there"


def invitations_are_answered_once(world: World) -> Iterator[str]:
    """An invitation has one answer, whoever gave it and whoever asks; its inviter's devices are notified once (R9)."""
    answers = {key: set(found) for key, found in world.answers.items()}
    for app in world.apps:
        for key, times in Counter(answer.invitation_id for answer in app.answered).items():
            if times > 1:
                yield f"{app.name} was notified {times} times of the answer to {key}"
        for answer in app.answered:
            answers.setdefault(answer.invitation_id, set()).add(answer.accepted)
    for key, found in answers.items():
        if len(found) > 1:
            yield f"the invitation {key} was accepted, and declined"


def removed_issuers_admit_nobody(world: World) -> Iterator[str]:
    """After rest, which is longer than the life of a token and its grace: nobody is in with a token of an issuer whose
    removal was acknowledged."""
    for app in world.apps:
        if app.is_alive and app.issuer is not None and app.issuer.is_removed and app.sdk.session.is_open():
            yield f"{app.name} is in with a token of {app.issuer.url}, which was removed"


def no_ghosts(world: World) -> Iterator[str]:
    """After everything was closed or died and the bounds have passed: nobody is there (promise 4)."""
    for session in sessions_of(world):
        yield f"session {session.id} of {session.external_id} is still {session.state.value}"
    for name in {app.external_id for app in world.apps if app.external_id}:
        record = record_of(world, name)
        if record.presence is not Presence.OFFLINE or record.shown is not Presence.OFFLINE or record.sessions:
            yield f"{name} is still {record.presence.value} ({record.sessions} sessions)"


def nothing_left_over(world: World) -> Iterator[str]:
    """A closed app has no task and no timer (promise: `close` resets everything)."""
    for app in world.apps:
        if not app.is_alive or app.is_paused or app.sdk.session.is_open():
            continue
        tasks = [task for task in asyncio.all_tasks(app.loop) if not task.done()]
        if tasks:
            yield f"{app.name} is closed and has {len(tasks)} tasks: {tasks[0]!r}"
        if app.loop.due() is not None:
            yield f"{app.name} is closed and has a timer"
    for loop in (*(app.loop for app in world.apps), *(node.loop for node in world.nodes)):
        for context in loop.failures:
            whose = context.get("future") or context.get("handle") or ""
            yield f"{loop.name}: {context.get('message')}: {context.get('exception')!r} {whose!r}"


KEPT = (
    one_end_each, order_of_events, updates_are_kept, attributes_are_kept, statuses_are_kept, opens_are_kept,
    kicks_are_kept, events_have_the_names, removed_issuers_admit_nobody, room_events_come_in_pairs,
    room_versions_only_grow, who_is_kept_out_is_not_there, invitations_are_answered_once,
)  # fmt: skip
"""What was acknowledged, and its events."""
AT_REST = (
    *KEPT, versions_only_grow, is_open_never_lies, watchers_converged, rosters_are_of_sessions, rosters_converged,
)  # fmt: skip
"""For a world in which everything was healed and has had its time."""
AT_THE_END = (*KEPT, versions_only_grow, no_ghosts, rosters_are_of_sessions, nothing_left_over)
"""For a world in which every app was closed or died, and the bounds have passed."""
