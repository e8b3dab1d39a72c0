"""`open`, `attach` and `refresh`: how a session comes to a connection (S1, S2, S5, S18)."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

from greenroom.codes import ErrorCode
from greenroom.core.policy import Proof, check_secrets, decide_open
from greenroom.core.requests import Attached, AttachRequest, OpenRequest, Owner, TokenFacts
from greenroom.engines.embedded.living import (
    announce,
    attach_row,
    check_admitted,
    check_lease,
    emit_participant,
    emit_session,
    end_row,
    is_owner,
    owned,
    set_token,
    settle,
    weigh,
)
from greenroom.engines.embedded.records import ENDED, Data, Person, Row, hash_key
from greenroom.engines.embedded.transaction import Transaction
from greenroom.errors import ScopeMissingError, SessionEndedError, TokenInvalidError, TooManySessionsError
from greenroom.model import EndReason, SessionRecord


def open_session(tx: Transaction, request: OpenRequest) -> Attached:
    """S2: block and revocation; known openId; same device; limits; create."""
    check_lease(tx, request.lease)
    check_admitted(tx, request.app, request.participant_id, request.token.jti, request.token.issued_at)
    text = f"{request.app}\x00{request.participant_id}\x00{request.open_id}"
    open_key = hash_key(tx.state.hash_key, text)
    known = tx.session_by_open(open_key)
    if known is not None:
        return _repeat(tx, request, known)
    person = tx.person(request.app, request.participant_id)
    profile = _profile_at_open(request, person)
    standing = [] if person is None else tx.standing(person)
    decision = decide_open(request.policy, request.device_id, standing)
    if decision.refused:
        raise TooManySessionsError()
    _check_application_limit(tx, request, len(decision.yielding))
    return _create(tx, request, person, profile, decision.yielding, open_key)


def _repeat(tx: Transaction, request: OpenRequest, row: Row) -> Attached:
    """The answer to the first open was lost: an attach, without event, info not applied again (S2)."""
    data = row.data
    if not compare_digest(data.first_secret, request.secret_hash):
        raise SessionEndedError(code=ErrorCode.OPEN_ID_CONFLICT)
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=data.end_reason)
    if data.attempt > 0:
        # It was resumed since: this is a late dial, and a newer one has the session (S1).
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)
    person = tx.person_of(row)
    data.address = request.address
    set_token(row, request.token)
    displaced = attach_row(tx, row, person, node=request.node, lease=request.lease, what="reopened")
    record = settle(tx, person, changed=False) or person.record()
    return Attached(session=row.record(), participant=record, created=False, displaced=displaced)


def _profile_at_open(request: OpenRequest, person: Person | None) -> tuple[str, str]:
    """Name and avatar URL after the open (S4)."""
    if person is None:
        return request.name or "", request.avatar_url or ""
    if request.if_new:
        return person.name, person.avatar_url
    name = person.name if request.name is None else request.name
    avatar_url = person.avatar_url if request.avatar_url is None else request.avatar_url
    if not request.may_change_profile and (name, avatar_url) != (person.name, person.avatar_url):
        raise ScopeMissingError(scope="session:update")
    return name, avatar_url


def _check_application_limit(tx: Transaction, request: OpenRequest, leaving: int) -> None:
    most = request.max_application_sessions
    if most is not None and tx.state.counts.get(request.app, 0) - leaving >= most:
        raise TooManySessionsError(code=ErrorCode.APPLICATION_LIMIT_REACHED)


def _create(
    tx: Transaction,
    request: OpenRequest,
    person: Person | None,
    profile: tuple[str, str],
    yielding: Sequence[Row],
    open_key: int,
) -> Attached:
    existed = person is not None
    if person is None:
        person = Person(0, request.app, request.participant_id, request.external_id, anonymous=request.anonymous)
    elif person.sessions == 0:
        person.due = None  # it said when to forget
    by = (request.device_id, request.device_name)
    replaced = tuple(end_row(tx, row, person, EndReason.REPLACED, by=by) for row in yielding)
    changed = profile != (person.name, person.avatar_url)
    if changed:
        person.name, person.avatar_url = profile
        person.revision += 1
    person.sessions += 1
    person.connected += 1
    news = weigh(tx, person, changed=True)
    tx.save_counts(person)  # a new one has its number now, which the session's row names
    if existed and changed:
        tx.save_profile(person)
    row = _insert(tx, person, _new_data(tx, request, person.version), open_key, request.lease)
    if existed and changed:
        emit_participant(tx, person, "updated")
    record = announce(tx, person, news)
    return Attached(session=row.record(), participant=record, created=True, replaced=replaced)


def _insert(tx: Transaction, person: Person, data: Data, open_key: int, lease: str) -> Row:
    row = tx.insert_session(person, data, open_key, lease)
    counts = tx.state.counts
    counts[person.app] = counts.get(person.app, 0) + 1
    emit_session(tx, row, person, "opened", data.id + ":opened")
    return row


def _new_data(tx: Transaction, request: OpenRequest, order: int) -> Data:
    token = request.token
    return Data(
        id=request.session_id,
        participant_id=request.participant_id,
        external_id=request.external_id,
        open_id=request.open_id,
        first_secret=request.secret_hash,
        secret=request.secret_hash,
        previous_secret=b"",
        attempt=0,
        generation=1,
        node=request.node,
        order=order,
        opened_at=tx.now,
        detached_at=None,
        device_id=request.device_id,
        device_name=request.device_name,
        sdk=request.sdk,
        address=request.address,
        jti=token.jti,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        scopes=token.scopes,
        grace_ms=int(request.grace * 1000),
    )


def attach_session(tx: Transaction, request: AttachRequest) -> Attached:
    """A resume by secret, or a node that takes its own session back."""
    check_lease(tx, request.lease)
    row = tx.session(request.session_id)
    if row is None:
        raise SessionEndedError(code=ErrorCode.STATE_LOST)
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
    data.address = request.address or data.address
    person = tx.person_of(row)
    displaced = attach_row(tx, row, person, node=request.node, lease=request.lease, what=what)
    record = settle(tx, person, changed=False) or person.record()
    return Attached(session=row.record(), participant=record, created=False, displaced=displaced)


def _check_previous(row: Row, previous: Owner) -> None:
    if row.state >= ENDED:
        raise SessionEndedError(end_reason=row.data.end_reason)
    if not is_owner(row, previous):
        raise SessionEndedError(code=ErrorCode.ATTEMPT_SUPERSEDED)


def _check_proof(row: Row, request: AttachRequest) -> None:
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


def _rotate(data: Data, request: AttachRequest) -> None:
    data.attempt = request.attempt
    if compare_digest(request.secret_hash, data.secret) and request.next_secret_hash not in (b"", data.secret):
        data.previous_secret, data.secret = data.secret, request.next_secret_hash


def refresh_token(tx: Transaction, owner: Owner, token: TokenFacts) -> SessionRecord:
    """The session's new token, after the checks of S18."""
    row = owned(tx, owner)
    check_admitted(tx, row.app, row.data.participant_id, token.jti, token.issued_at)
    set_token(row, token)
    row.note(tx.now, "token_refreshed", row.data.node)
    tx.save_session(row)
    return row.record()
