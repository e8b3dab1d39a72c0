"""Invitations to rooms (R9): kept with their invitees until their time is over, and their answers with them."""

from __future__ import annotations

import msgspec

from greenroom.core.rooms.requests import Answered, AnswerInvitation, Invited, InviteRequest
from greenroom.engines.embedded.rows import ATTACHED
from greenroom.engines.embedded.transaction import Transaction
from greenroom.engines.rooms import INVITATIONS_OF_INVITEE
from greenroom.errors import InvitationAnsweredError, NotFoundError
from greenroom.model import Invitation


class _Answer(msgspec.Struct, frozen=True):
    """The member that an answer adds to a stored invitation."""

    accepted: bool | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Invitation).decode
_decode_answer = msgspec.msgpack.Decoder(_Answer).decode
_OF = "SELECT n, body FROM invitations WHERE app = ? AND invitee = ? ORDER BY n"


def invitations_of(tx: Transaction, app: str, invitee: str) -> tuple[Invitation, ...]:
    """Those that wait for an answer, the oldest first."""
    if (app, invitee) not in tx.state.rooms.invited:
        return ()
    kept = [_decode(body) for _, body in tx.rows(_OF, (app, invitee)) if _answer_of(body) is None]
    return tuple(each for each in kept if each.expires_at > tx.now)


def keep_invitation(tx: Transaction, request: InviteRequest) -> Invited:
    """Stores it. Of an invitee's the latest `INVITATIONS_OF_INVITEE` are kept; the answered ones go first."""
    invitation = Invitation(
        id=request.invitation_id,
        room=request.room,
        inviter=request.inviter,
        inviter_name=request.inviter_name,
        invitee=request.invitee,
        text=request.text,
        created_at=tx.now,
        expires_at=tx.now + int(request.ttl * 1000),
    )
    invited = tx.state.rooms.invited
    key = (request.app, request.invitee)
    if invited.get(key, 0) >= INVITATIONS_OF_INVITEE:
        surplus = invited[key] - INVITATIONS_OF_INVITEE + 1
        kept = sorted(tx.rows(_OF, key), key=lambda row: (_answer_of(row[1]) is None, row[0]))
        for n, _ in kept[:surplus]:
            forget_invitation(tx, n, *key)
    tx.writes += 1
    tx.execute(
        "INSERT INTO invitations (app, invitee, inviter, expires_at, body) VALUES (?, ?, ?, ?, ?)",
        (*key, request.inviter, invitation.expires_at, _encode(invitation)),
    )
    invited[key] = invited.get(key, 0) + 1
    participant = tx.participant(*key)
    rows = [] if participant is None else tx.sessions_of(participant)
    connected = tuple((row.data.node, row.data.id, row.data.generation) for row in rows if row.state == ATTACHED)
    return Invited(invitation, connected)


def keep_answer(tx: Transaction, app: str, invitee: str, request: AnswerInvitation) -> Answered:
    """Raises NotFoundError, InvitationAnsweredError."""
    for n, body in tx.rows(_OF, (app, invitee)):
        invitation = _decode(body)
        if invitation.id == request.invitation_id and invitation.expires_at > tx.now:
            before = _answer_of(body)
            if before is None:
                answered = {**msgspec.to_builtins(invitation), "accepted": request.accept}
                tx.writes += 1
                tx.execute("UPDATE invitations SET body = ? WHERE n = ?", (_encode(answered), n))
            elif before != request.accept:
                raise InvitationAnsweredError(accepted=before)
            return Answered(invitation, is_new=before is None)
    raise NotFoundError("The invitation does not exist.", hint="It has expired or was withdrawn: ask for another one.")


def _answer_of(body: bytes) -> bool | None:
    return _decode_answer(body).accepted


def forget_invitation(tx: Transaction, n: int, app: str, invitee: str) -> None:
    tx.writes += 1
    tx.execute("DELETE FROM invitations WHERE n = ?", (n,))
    left = tx.state.rooms.invited.get((app, invitee), 0) - 1
    if left > 0:
        tx.state.rooms.invited[app, invitee] = left
    else:
        tx.state.rooms.invited.pop((app, invitee), None)


def erase_invitations(tx: Transaction, app: str, participant_id: str) -> None:
    """Those by and to someone who is erased."""
    sql = "SELECT n, invitee FROM invitations WHERE app = ? AND {} = ?"
    for who in ("invitee", "inviter"):
        for n, invitee in tx.rows(sql.format(who), (app, participant_id)):
            forget_invitation(tx, n, app, invitee)


def forget_invitations(tx: Transaction, limit: int) -> int:
    """Those whose time is over. How many."""
    sql = "SELECT n, app, invitee FROM invitations WHERE expires_at <= ? LIMIT ?"
    over = tx.rows(sql, (tx.now, limit)) if tx.state.rooms.invited else []
    for n, app, invitee in over:
        forget_invitation(tx, n, app, invitee)
    return len(over)
