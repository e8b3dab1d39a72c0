"""Who may open a session, and who makes room for it: the decision inside `open` (S2, S3), and inside `attach` (S1).

Pure: every engine takes the same decisions; the embedded one calls these functions, the Lua files mirror them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hmac import compare_digest
from typing import Generic, Protocol, TypeVar

from greenroom.model import SessionPolicy


class ActiveSession(Protocol):
    """A session of the participant that has not ended, as far as the policy asks."""

    @property
    def device_id(self) -> str | None: ...

    @property
    def detached_at(self) -> int | None:
        """None where it has a connection."""

    @property
    def order(self) -> int:
        """Rises from one opened session of the participant to the next."""


S = TypeVar("S", bound=ActiveSession)


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """What `open` does: refuse, or end ``yielding`` (in this order, reason `replaced`) and create."""

    refused: bool
    yielding: tuple[S, ...] = ()


def decide_open(policy: SessionPolicy, device_id: str | None, active: Sequence[S]) -> Decision[S]:
    """Same device first, then the participant's limit (S2, S3).

    The same device takes the place of all its own sessions. When the rest is full the sessions that have been detached
    the longest yield, also under ``reject``; under ``replace_oldest`` then those opened first. Where that is not
    enough nothing yields and the open is refused.
    """
    if not active:
        return Decision(policy.max_sessions < 1)
    own: list[S] = []
    rest: list[S] = []
    replaces = device_id is not None and policy.same_device == "replace"
    for session in active:
        (own if replaces and session.device_id == device_id else rest).append(session)
    surplus = len(rest) + 1 - policy.max_sessions
    if surplus <= 0:
        return Decision(False, tuple(own))
    yielding = _first_to_yield(rest)
    if policy.when_full != "replace_oldest":
        yielding = [session for session in yielding if session.detached_at is not None]
    if surplus > len(yielding) or policy.max_sessions < 1:
        return Decision(True)
    return Decision(False, (*own, *yielding[:surplus]))


def _first_to_yield(sessions: Sequence[S]) -> list[S]:
    """Detached ones by how long they are, then connected ones by age."""

    def rank(session: S) -> tuple[bool, int, int]:
        return (session.detached_at is None, session.detached_at or 0, session.order)

    return sorted(sessions, key=rank)


class Proof(StrEnum):
    """What a resume's secrets and attempt prove (S1)."""

    ACCEPTED = "accepted"
    """The current secret: ``next`` takes its place."""
    REPEATED = "repeated"
    """The previous secret, with the current one as next: the reply was lost. Secrets stay as they are."""
    SUPERSEDED = "superseded"
    """The right secrets, but an attempt at or below the last one taken: a late old dial."""
    REFUSED = "refused"


def check_secrets(
    *, current: bytes, previous: bytes, last_attempt: int, secret: bytes, following: bytes, attempt: int
) -> Proof:
    """Judges a resume (S1). All secrets are hashes; ``previous`` is empty where there has been none."""
    if secret and compare_digest(secret, current):
        proof = Proof.ACCEPTED
    elif previous and following and compare_digest(secret, previous) and compare_digest(following, current):
        proof = Proof.REPEATED
    elif previous and compare_digest(secret, previous):
        # A late dial of an attempt before the last rotation, or a stolen old secret: neither gets in, and
        # only a client that once knew the secret learns that it is old.
        return Proof.SUPERSEDED if attempt <= last_attempt else Proof.REFUSED
    else:
        return Proof.REFUSED
    return proof if attempt > last_attempt else Proof.SUPERSEDED


def cutoff_now(now_ms: int) -> int:
    """The cut-off that covers every token issued up to now: Unix seconds, rounded up (S18)."""
    return -(-now_ms // 1000)
