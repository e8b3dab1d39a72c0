"""`detach` and `close`: a session loses its connection, or ends (S6)."""

from __future__ import annotations

from hmac import compare_digest

from greenroom.codes import ErrorCode
from greenroom.core.requests import EndRequest, Owner
from greenroom.engines.embedded.rows import ATTACHED, ENDED, SessionRow
from greenroom.engines.embedded.session_steps import detach_row, end_row, finish, is_owner
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import SessionEndedError
from greenroom.model import SessionRecord


def detach_session(tx: Transaction, owner: Owner, grace: float) -> bool:
    row = tx.session(owner.session_id)
    if row is None or row.state != ATTACHED or not is_owner(row, owner):
        return False
    participant = tx.participant_of(row)
    detach_row(tx, row, participant, int(grace * 1000))
    finish(tx, participant, changed=False)
    return True


def close_session(tx: Transaction, request: EndRequest) -> SessionRecord | None:
    row = tx.session(request.session_id)
    if row is None or row.state >= ENDED or not _may_end(row, request):
        return None
    participant = tx.participant_of(row)
    record = end_row(tx, row, participant, request.reason, request.text)
    finish(tx, participant, changed=True, left=request.reason)
    return record


def _may_end(row: SessionRow, request: EndRequest) -> bool:
    """Raises where the secret is wrong; an owner that was overtaken, or another tenant's operator, finds nothing."""
    if request.app is not None and request.app != row.app:
        return False
    if request.owner is not None:
        # Detached since by a reaper, but taken by nobody: a close that was kept through an outage still counts (S6).
        return is_owner(row, request.owner)
    if request.secret_hash is not None:
        data = row.data
        previous = bool(data.previous_secret) and compare_digest(request.secret_hash, data.previous_secret)
        if not previous and not compare_digest(request.secret_hash, data.secret):
            raise SessionEndedError(code=ErrorCode.RESUME_REFUSED)
    return True
