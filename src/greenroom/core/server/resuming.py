"""`session.resume`: the session comes to this connection, with its watches and rooms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from greenroom.core.requests import Attached, WatchRequest
from greenroom.core.rooms.watching import AnyRoster
from greenroom.core.server.closing import let_go, refuse_and_drop
from greenroom.core.server.context import ATTACHED, RequestId, SessionContext
from greenroom.core.server.joining import allows, attach_request, check_same_identity
from greenroom.core.server.opening import check_again, join_result
from greenroom.core.server.refusals import not_joined
from greenroom.core.server.room_changes import leave_rooms, notify_unwatched
from greenroom.core.server.room_resuming import NO_ROOMS, RoomsBack, come_back
from greenroom.core.server.room_rights import WATCH_SCOPE
from greenroom.core.server.services import Now
from greenroom.core.watching import cut, encode_update
from greenroom.errors import GreenroomError, RoomsUnavailableError, SessionEndedError
from greenroom.messages import MAX_PIECE_BYTES, ResumeParams
from greenroom.model import ParticipantRecord


def resume_session(context: SessionContext, request_id: RequestId, params: ResumeParams, now: Now) -> None:
    """`session.resume`. Raises what refuses it."""
    services = context.services
    request, token = attach_request(params, services, address=context.address, origin=context.origin, now=now)

    def then(result: Any, now: Now) -> None:
        if not isinstance(result, Attached):
            if isinstance(result, SessionEndedError):
                services.note_failed_resume(context.address, now)
            not_joined(context, request_id, result, now, resuming=True)
            return
        # Accepted or repeated: in both cases the next secret is the current one now (S1).
        if not context.joined(result, request.next_secret_hash, request.attempt):
            let_go(context)
            return
        services.note_resumed(request.session_id, now)
        try:
            if token is not None:
                check_same_identity(
                    token, context.application(), context.app, context.participant_id, context.external_id
                )
        except GreenroomError as error:
            refuse_and_drop(context, request_id, error, now)
            return
        known_rooms = dict(params.watching_rooms)
        back = come_back(
            result, context.rights(), known_rooms, now, bring_rosters=params.rosters, has_new_token=token is not None
        )
        context.set_rooms(back.rooms)
        _watch_again(context, request_id, dict(params.watching), back)

    context.ask_to_join(request, then, services.limits.grace)


def _watch_again(context: SessionContext, request_id: RequestId, known: dict[str, int], back: RoomsBack) -> None:
    """A resume brings its watches: subscribe and read before it is answered; what differs is in the reply (S12).

    The session's own participant is one of them: only now it is known who that is.
    """
    own = context.participant_id
    known.pop(own, None)
    context.hold_back()
    application = context.application()
    most = 0 if application is None or not allows(context.scopes, WATCH_SCOPE) else application.settings.max_watched
    known = dict(islice(known.items(), most))
    ids = (own, *known)
    context.watches.hold(ids)

    def then(result: Any, now: Now) -> None:
        if context.state not in ATTACHED:
            return
        if isinstance(result, GreenroomError):
            # The session is attached; the client's repeat is a repeat after a lost reply (S1).
            refuse_and_drop(context, request_id, result, now)
            return
        context.participant_changed(result[0])

        def answer(rosters: Any, now: Now) -> None:
            if context.state not in ATTACHED:
                return
            if isinstance(rosters, GreenroomError) and not isinstance(rosters, RoomsUnavailableError):
                refuse_and_drop(context, request_id, rosters, now)
            else:
                _answer(context, request_id, result, known, back, rosters, now)

        if back.watch is None:
            answer(None, now)
        else:
            context.ask(back.watch, answer)

    context.ask(WatchRequest(context.app, ids, known), then)


def _answer(
    context: SessionContext,
    request_id: RequestId,
    records: Sequence[ParticipantRecord],
    known: dict[str, int],
    back: RoomsBack,
    rosters: Sequence[AnyRoster] | GreenroomError | None,
    now: Now,
) -> None:
    """The reply. records: the session's own participant, then those watched. rosters: the answer to `back.watch`."""
    own, *others = records
    changed = [one for one in others if known.get(one.id) != one.version]
    updates = [encode_update(record) for record in changed]
    first = cut(updates, MAX_PIECE_BYTES) if updates else 0
    result = join_result(context, own, changed[:first], now)
    if back is not NO_ROOMS:
        result = back.with_news(result, rosters)
    context.reply(request_id, result)
    context.release()
    versions = {one.id: one.version for one in records}
    # What is not in the reply waits for the buffer, as any change does.
    versions.update((one.id, -1) for one in updates[first:])
    context.watches.answer(versions)
    for one in updates[first:]:
        context.watches.enqueue(one)
    check_again(context, now)
    leave_rooms(context, back.leave)
    notify_unwatched(context, back.unwatched)
