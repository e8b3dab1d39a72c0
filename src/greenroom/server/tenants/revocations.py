"""Which tokens are revoked, and who is blocked, as this node knows it (S18). The engine checks the same in `open`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import floor

from greenroom.codes import ErrorCode
from greenroom.engines.base import (
    BlockParticipant,
    CutOffTokens,
    KickParticipant,
    LiftBlock,
    Restricted,
    RestrictRequest,
    RevokeToken,
)
from greenroom.errors import GreenroomError, ParticipantBlockedError, ServiceUnavailableError, TokenInvalidError
from greenroom.model import Application, Event, Restriction, erased_subject, without_names
from greenroom.tokens import VerifiedToken

MAX_BUMP = 4
"""Seconds that a token's `iat` may be ahead of the clock to be above a cut-off (S18); verifiers take 5."""


def restrictions_made(request: RestrictRequest, restricted: Restricted, at: int) -> tuple[Restriction, ...]:
    """What is stored after `Registry.restrict`, so that nobody need read it. at: Unix milliseconds. Nothing for an
    erasure, which changes entries that are there: read those again."""
    app, reason = request.app, request.reason
    made: list[Restriction] = []
    if isinstance(request, KickParticipant | BlockParticipant | CutOffTokens):
        cutoff = restricted.cutoff
        made.append(Restriction(app=app, kind="cutoff", subject=request.participant_id, before=cutoff, created_at=at))
    if isinstance(request, KickParticipant | BlockParticipant):
        jtis = {session.jti for session in restricted.ended if session.jti}
        made += [Restriction(app=app, kind="jti", subject=jti, created_at=at) for jti in sorted(jtis)]
    if isinstance(request, BlockParticipant | LiftBlock):
        until = None if isinstance(request, LiftBlock) else request.until
        made.append(
            Restriction(
                app=app, kind="block", subject=request.participant_id, until=until, reason=reason,
                created_at=at, lifted=isinstance(request, LiftBlock),
            )
        )  # fmt: skip
    if isinstance(request, RevokeToken):
        made.append(Restriction(app=app, kind="jti", subject=request.jti, reason=reason, created_at=at))
    return tuple(made)


class Revocations:
    """A copy of the restrictions. clock: Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cutoffs: dict[tuple[str, str], int] = {}
        self.revoked_jtis: set[tuple[str, str]] = set()
        """Application and jti of each token that was revoked by its jti. The same set for good."""
        self._blocks: dict[tuple[str, str], Restriction] = {}

    def replace(self, restrictions: Iterable[Restriction]) -> None:
        """These are stored now, and no others."""
        self._cutoffs, self._blocks = {}, {}
        self.revoked_jtis.clear()
        self.apply(restrictions)

    def apply(self, restrictions: Iterable[Restriction]) -> None:
        """These were made; what is known already stays."""
        for entry in restrictions:
            key = (entry.app, entry.subject)
            if entry.kind == "cutoff" and not entry.lifted:
                self._cutoffs[key] = max(entry.before, self._cutoffs.get(key, 0))
            elif entry.kind == "jti":
                self.revoked_jtis.add(key)
            elif entry.kind == "cutoff":
                self._cutoffs.pop(key, None)
            elif entry.lifted:
                self._blocks.pop(key, None)
            else:
                self._blocks[key] = entry

    def cutoff(self, app: Application, participant_id: str | None) -> int | None:
        """The newest cut-off known here for a token of this participant (Unix seconds), to mint above; None: none.

        Raises ServiceUnavailableError where it lies further ahead than verifiers allow `iat` to be: wait, then.
        """
        cutoff = app.revoked_before
        if participant_id is not None:
            cutoff = max(cutoff, self._cutoff_of(app.key, participant_id))
        if not cutoff:
            return None
        ahead = cutoff + 1 - floor(self._clock())
        if ahead > MAX_BUMP:
            raise ServiceUnavailableError(
                "Tokens of this participant are revoked up to a time in the future.",
                hint=f"Try again in {ahead - MAX_BUMP} s.",
                retry_after=float(ahead - MAX_BUMP),
            )
        return cutoff

    def is_revoked(self, app: Application, token: VerifiedToken) -> bool:
        """Whether a token of the application is revoked: by its cut-off, its participant's, or its jti."""
        if token.issued_at <= app.revoked_before or (token.app, token.jti) in self.revoked_jtis:
            return True
        return token.issued_at <= self._cutoff_of(token.app, token.participant_id or "")

    def refusal(self, token: VerifiedToken) -> GreenroomError:
        """Why this one token, which is revoked by its jti, opens nothing. A block comes first (S2).

        Asked at `open` too: a token that names no participant is revoked in no participant's partition, where the
        engine would find it (S18).
        """
        for subject in (token.participant_id or "", erased_subject(token.participant_id or "")):
            block = self._blocks.get((token.app, subject))
            if block is not None and (block.until is None or block.until > self._clock() * 1000):
                return ParticipantBlockedError(until=block.until)
        return TokenInvalidError(code=ErrorCode.TOKEN_REVOKED)

    def erased_at(self, app_key: str, participant_id: str) -> int:
        """Up to when (Unix seconds) everything about the participant was erased, as far as it is known here; 0: never.
        An erased one's cut-off is stored by hashed id."""
        return self._cutoffs.get((app_key, erased_subject(participant_id)), 0)

    def redacted(self, event: Event) -> Event:
        """The event as it may be stored again, shown or sent: without what says who it was, where the participant was
        erased since."""
        erased = event.at <= self.erased_at(event.app, event.participant_id) * 1000
        return without_names(event) if erased else event

    def _cutoff_of(self, app_key: str, participant_id: str) -> int:
        return max(self._cutoffs.get((app_key, participant_id), 0), self.erased_at(app_key, participant_id))
