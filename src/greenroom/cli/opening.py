"""The inside of ``greenroom open``: a session held open on a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom import Participant


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to open a session with. token, or key and secret."""

    url: str
    token: str | None
    key: str | None
    secret: str | None
    external_id: str | None
    name: str | None
    avatar_url: str | None


async def hold_open(wanted: Wanted, *, as_json: bool) -> None:
    """Opens, tells what happens, closes."""
    raise NotImplementedError


def describe(participant: Participant) -> dict[str, Any]:
    """A participant for printing."""
    raise NotImplementedError
