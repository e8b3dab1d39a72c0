"""An open under way, and the session that it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from greenroom.core.presence import AVAILABLE
from greenroom.errors import GreenroomError
from greenroom.messages import Device, OpenParams, OpenParticipant, OpenResult, ResumeParams, SdkVersion
from greenroom.model import Participant, ParticipantInfo

NO_INFO = ParticipantInfo()


@dataclass(slots=True)
class Credentials:
    """What resumes a session. secret: the current one; next_secret: the one that a resume under way introduces (S1)."""

    id: str
    secret: str
    next_secret: str | None = None
    attempt: int = 0

    def resume(
        self,
        next_secret: str,
        token: str | None,
        watching: list[tuple[str, int]],
        watching_rooms: list[tuple[str, int]],
        *,
        rosters: bool = False,
    ) -> ResumeParams:
        """Parameters of the next attempt: +1, with the same next secret until one is answered. rosters: this process
        does not know in which rooms the session is."""
        self.attempt += 1
        self.next_secret = self.next_secret or next_secret
        return ResumeParams(
            session_id=self.id,
            resume_secret=self.secret,
            next_secret=self.next_secret,
            attempt=self.attempt,
            token=token,
            watching=watching,
            watching_rooms=watching_rooms,
            rosters=rosters,
        )

    def resumed(self) -> None:
        self.secret, self.next_secret = self.next_secret or self.secret, None

    def secrets(self) -> list[str]:
        """The service knows one of these."""
        return [self.secret] if self.next_secret is None else [self.secret, self.next_secret]


class SavedSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session that a later process, or the next page, may resume (S20). app and external_id: of its token."""

    id: str
    secrets: list[str]
    attempt: int
    grace: float
    info: ParticipantInfo
    app: str
    external_id: str | None

    def credentials(self) -> Credentials:
        secret, *following = self.secrets
        return Credentials(self.id, secret, following[0] if following else None, self.attempt)


@dataclass(slots=True)
class Opening:
    """One open, shared by its waiters (each with its own timeout), or a reopen: without waiters and without a limit.

    open_id and secret stay the same over all retries, so that a lost reply gives the same session (S1, S2).
    """

    info: ParticipantInfo
    device: Device
    open_id: str
    secret: str
    waiters: dict[int, float | None] = field(default_factory=dict)
    reopen_reason: str | None = None
    previous_id: str = ""
    refreshed: bool = False
    """The service refused one token as expired. A second one is the callback's fault."""
    new_ids: bool = False
    """The session of the first ids had ended; there is one new try."""
    last_error: GreenroomError | None = None
    saved: Credentials | None = None
    """Of a session that the process before this one had: its resume is tried first."""
    status: str | None = None
    """Of the session that a reopen replaces; None is `available`."""
    saved_grace: float = 0.0

    @property
    def is_reopen(self) -> bool:
        return self.reopen_reason is not None

    def params(self, token: str, sdk: SdkVersion) -> OpenParams:
        participant = OpenParticipant(
            self.info.name,
            self.info.avatar_url,
            self.info.external_id or None,
            if_new=self.is_reopen,
            attributes=None if self.info.attributes is None else dict(self.info.attributes),
        )
        return OpenParams(
            token=token,
            open_id=self.open_id,
            resume_secret=self.secret,
            participant=participant,
            device=self.device,
            sdk=sdk,
            status=self.status,
        )


@dataclass(slots=True)
class Session:
    """An open session."""

    credentials: Credentials
    grace: float
    participant: Participant
    scopes: tuple[str, ...]
    info: ParticipantInfo
    device: Device
    since: float
    reopened: bool
    capabilities: tuple[str, ...] = ()
    status: str = AVAILABLE
    lost_at: float | None = None

    @property
    def id(self) -> str:
        return self.credentials.id

    def resumed(self, result: OpenResult) -> None:
        self.credentials.resumed()
        self.lost_at = None
        self.grace, self.scopes = result.session.grace, tuple(result.scopes)
        self.capabilities, self.status = tuple(result.capabilities), result.session.status or AVAILABLE

    def last_info(self) -> ParticipantInfo:
        """Info for a reopen: the record as last seen; the external id only where the app gave it."""
        info = self.participant.info
        return ParticipantInfo(info.name, info.avatar_url, self.info.external_id, info.attributes)

    def is_same(self, info: ParticipantInfo | None) -> bool:
        """Whether `open` with this info means the session that is open."""
        if info is None or info in (self.info, NO_INFO):
            return True
        have = self.participant.info
        pairs = (
            (info.name, have.name),
            (info.avatar_url, have.avatar_url),
            (info.external_id or None, have.external_id),
        )
        attributes = have.attributes or {}
        return all(asked is None or (asked or None) == there for asked, there in pairs) and all(
            attributes.get(name) == value for name, value in (info.attributes or {}).items()
        )
