"""`attach` and `refresh`: a known session gets a connection, or a new token (S1, S5, S7, S18)."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from greenroom.codes import ErrorCode
from greenroom.core.policy import Proof, check_secrets
from greenroom.core.requests import Attached, AttachRequest, Owner, TokenFacts
from greenroom.engines.embedded.memberships import follow
from greenroom.engines.embedded.rows import ENDED, SessionData, SessionRow
from greenroom.engines.embedded.session_steps import (
    attach_row,
    begin_token_grace,
    check_admitted,
    fenced,
    is_owner,
    owned,
    set_token,
)
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import SessionEndedError, TokenInvalidError
from greenroom.model import SessionRecord


def attach_session(tx: Transaction, request: AttachRequest) -> Attached:
    """A resume by secret, or a node that acquires its own session again."""
    if not tx.state.lease_is_good(request.lease):
        raise fenced()
    row = tx.session(request.session_id)
    if row is None:
        raise tx.unknown_session(request.session_id)
    data = row.data
    if request.previous is not None:
        _check_previous(row, request.previous)
        what = "taken_back"
    else:
        _check_proof(row, request)
        what = "resumed"
    token = request.token or TokenFacts(jti=data.jti, issued_at=data.issued_at, expires_at=data.expires_at)
    check_admitted(tx, row.app, data.participant_id, token.jti, token.issued_at)
    if request.previous is None:
        _rotate(data, request)
    if request.token is not None:
        set_token(row, request.token)
    begin_token_grace(tx, row)
    data.address = request.address or data.address
    participant = tx.participant_of(row)
    return attach_row(tx, row, participant, node=request.node, lease=request.lease, what=what)


def _check_previous(row: SessionRow, previous: Owner) -> None:
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=row.data.end_reason)
    if not is_owner(row, previous):
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)


def _check_proof(row: SessionRow, request: AttachRequest) -> None:
    data = row.data
    proof = check_secrets(
        current=data.secret,
        previous=data.previous_secret,
        last_attempt=data.attempt,
        secret=request.secret_hash,
        following=request.next_secret_hash,
        attempt=request.attempt,
    )
    if proof is Proof.REFUSED:
        raise SessionEndedError(code=ErrorCode.RESUME_REFUSED)
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=data.end_reason)
    if proof is Proof.SUPERSEDED:
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)
    other_app = request.app is not None and request.app != row.app
    if other_app or (request.participant_id is not None and request.participant_id != data.participant_id):
        raise TokenInvalidError(code=ErrorCode.TOKEN_MISMATCH)


def _rotate(data: SessionData, request: AttachRequest) -> None:
    data.attempt = request.attempt
    if compare_digest(request.secret_hash, data.secret) and request.next_secret_hash not in (b"", data.secret):
        data.previous_secret, data.secret = data.secret, request.next_secret_hash


def refresh_token(tx: Transaction, owner: Owner, token: TokenFacts, leave: Sequence[str]) -> SessionRecord:
    """The session's new token, after the checks of S18; it leaves rooms that the token no longer grants (R7)."""
    row = owned(tx, owner)
    check_admitted(tx, row.app, row.data.participant_id, token.jti, token.issued_at)
    set_token(row, token)
    row.note(tx.now, "token_refreshed", row.data.node)
    leaves = any(room in leave for room in row.data.rooms)
    row.data.rooms = tuple(room for room in row.data.rooms if room not in leave)
    tx.save_session(row)
    if leaves:
        follow(tx, tx.participant_of(row), "permission_lost")
    return row.record()
