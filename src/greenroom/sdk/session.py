"""The SessionService: open, close, and the session's own participant (platform: ``VTSession``, ``SessionService``)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, cast

from greenroom.core.client import ClientSession
from greenroom.core.profile import check_attributes, check_status
from greenroom.core.states import SessionState
from greenroom.errors import IllegalArgumentError
from greenroom.external_ids import check_external_id
from greenroom.messages import Device
from greenroom.model import Participant, ParticipantInfo
from greenroom.sdk.delegate import SessionDelegate
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.runner import Runner

log = logging.getLogger("greenroom.sdk")
_FIELDS = {"name": "name", "avatarurl": "avatar_url", "externalid": "external_id", "attributes": "attributes"}


class OpenFlag(int):
    """True or False. Awaiting it raises an error that says that it need not be awaited; in other SDKs it is a
    promise."""

    def __repr__(self) -> str:
        return str(bool(self))

    __str__ = __repr__

    def __await__(self) -> Generator[Any, None, bool]:
        raise TypeError("session.is_open() is not a coroutine: leave out await.")


class OpenCall(Coroutine[Any, Any, Participant]):
    """An `open` under way. ``await`` it, or use it in ``async with``, which closes the session at the end."""

    def __init__(self, work: Coroutine[Any, Any, Participant], close: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._close = close

    def send(self, value: Any) -> Any:
        return self._work.send(value)

    def throw(self, *details: Any) -> Any:
        return self._work.throw(*details)

    def close(self) -> None:
        """Of the coroutine; the session is closed by `SessionService.close`."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Participant]:
        return self._work.__await__()

    async def __aenter__(self) -> Participant:
        try:
            return await self._work
        except BaseException:
            await self._close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()


class SessionService:
    """One session at a time. All of it belongs to one event loop: that in which `open` was awaited."""

    def __init__(self, runner: Runner, notifier: Notifier) -> None:
        self._runner = runner
        self._notifier = notifier
        self.device: Device | None = None
        """This installation of the app, for calls of `open` without one. None: a device without a name."""

    @property
    def delegate(self) -> SessionDelegate | None:
        """Is notified of what happens; None: no delegate. Its methods run in a separate queue."""
        return self._notifier.delegate

    @delegate.setter
    def delegate(self, delegate: SessionDelegate | None) -> None:
        self._notifier.delegate = delegate

    @property
    def state(self) -> SessionState:
        """``disconnected``, ``connecting``, ``connected`` or ``reconnecting``."""
        return self._runner.machine.state

    @property
    def participant(self) -> Participant | None:
        """The session's participant as last known; None without an open session."""
        return self._runner.machine.participant

    @property
    def scopes(self) -> tuple[str, ...]:
        """The session scopes of the token, as reported by the service; empty without an open session."""
        return self._runner.machine.scopes

    def is_open(self) -> bool:
        """True from a successful `open` until `close` or a final end, also while reconnecting. Not a coroutine."""
        return cast(bool, OpenFlag(self._runner.machine.is_open()))

    def open(
        self, info: ParticipantInfo | None = None, *, device: Device | None = None, timeout: float | None = 10.0
    ) -> OpenCall:
        """Open a session: ``await`` it, or use it in ``async with``, which closes the session at the end.

        If one is open already, and with the same or no info, this returns the present participant.

        info: name, avatar URL, external id, attributes, each optional; None: an anonymous participant, or the token's.
        A service of version 0.1 ignores attributes, and the SDK logs a warning.
        device: this installation of the app; None takes `device` of this service.
        timeout: seconds for this caller, 10 by default, None for no limit. Temporary failures are retried until then.
        Concurrent callers share one open; cancelling the last of them cancels it.

        Raises NotInitializedError, SessionAlreadyOpenError (other info), ExternalIdMismatchError, OpenTimeoutError,
        OpenCancelledError (by `close`), TokenError, ParticipantError, ProtocolError (wrong URL, no trust in TLS).
        """
        _check_info(info)
        _check_device(device)
        if info is not None and info.external_id and info.external_id == self._runner.machine.token_external_id:
            warnings.warn(
                "The token already has this external id: leave external_id out of open().",
                DeprecationWarning,
                stacklevel=2,
            )
        return OpenCall(self._open(info, device or self.device, timeout), self.close)

    async def _open(self, info: ParticipantInfo | None, device: Device | None, timeout: float | None) -> Participant:
        machine, now = self._runner.machine, self._runner.now()
        participant = await self._runner.call(
            lambda number: machine.open(now, number, info, device, timeout),
            lambda number: machine.cancel_open(self._runner.now(), number),
        )
        assert isinstance(participant, Participant)
        if info is not None and info.attributes and not machine.has("attributes"):
            log.warning("The service is older than this SDK: it has no attributes, and ignored those of open().")
        return participant

    async def close(self) -> None:
        """End the session. Never fails; closing twice, at the same time or without a session is fine.

        Local state is cleared at once; then this waits until the service has confirmed, 2 s at most. Without network
        the service is notified in the background until the session's grace is over. The token is kept.
        """
        machine = self._runner.machine
        await self._runner.call(lambda number: machine.close(self._runner.now(), number))
        await self._runner.finish_close()

    def opened(
        self, info: ParticipantInfo | None = None, *, device: Device | None = None, timeout: float | None = 10.0
    ) -> OpenCall:
        """``async with sdk.session.opened(info) as participant:`` opens, and always closes. The same as `open`."""
        return self.open(info, device=device, timeout=timeout)

    async def get_participant(self) -> Participant:
        """The session's participant, read from the service. Raises SessionNotOpenError, ServiceUnavailableError."""
        machine = self._open_machine()
        return await self._ask(lambda number: machine.get_participant(self._runner.now(), number))

    @property
    def status(self) -> str | None:
        """What `set_status` set last, ``available`` at first; None without an open session."""
        return self._runner.machine.status

    async def set_status(self, status: str) -> Participant:
        """Set how available this session's user is: ``available``, ``away``, ``busy``, or a text of your own of 1 to 64
        characters. Returns the participant after the change: its `availability` is that of its most available session.

        The status outlives connections, is kept by an automatic reopen, and ends with the session. Raises
        SessionNotOpenError, ScopeMissingError (``session:update``), IllegalArgumentError, ServiceUnavailableError,
        ProtocolError (an older service).
        """
        machine = self._open_machine()
        checked = check_status(status)
        return await self._ask(lambda number: machine.set_status(self._runner.now(), number, checked))

    async def update_participant_info(
        self,
        name: str | None = None,
        avatar_url: str | None = None,
        *,
        attributes: Mapping[str, str | None] | None = None,
        if_revision: int | None = None,
    ) -> Participant:
        """Change name, avatar URL and attributes: None leaves a value as it is, "" clears it. Returns the participant
        after the change.

        attributes: merged into the stored ones; one whose value is None is removed. Up to 32, names of 1 to 64
        characters, values of up to 1,024 bytes of UTF-8, 4 KiB together. The application may reserve some of them for
        its backend.
        if_revision: change only if this is the present revision; None: in any case. While the connection
        is lost this waits, 10 s at most; an update whose outcome is not known is safe to repeat.

        Raises SessionNotOpenError, ScopeMissingError (``session:update``), IllegalArgumentError (naming the field),
        RevisionConflictError (carrying the present record), ServiceUnavailableError.
        """
        machine = self._open_machine()
        for field, value in (("name", name), ("avatar_url", avatar_url)):
            _check_text(field, value)
        changes = None if attributes is None else check_attributes(attributes)
        return await self._ask(
            lambda number: machine.update(self._runner.now(), number, name, avatar_url, if_revision, changes)
        )

    def _open_machine(self) -> ClientSession:
        machine = self._runner.machine
        if not machine.is_open():
            raise machine.not_open_error()
        return machine

    async def _ask(self, put: Callable[[int], None]) -> Participant:
        machine = self._runner.machine
        result = await self._runner.call(put, lambda number: machine.cancel_request(self._runner.now(), number))
        assert isinstance(result, Participant)
        return result


def _check_info(info: ParticipantInfo | None) -> None:
    if info is None:
        return
    given: object = info
    if not isinstance(given, ParticipantInfo):
        raise IllegalArgumentError(
            f"info must be a ParticipantInfo, not {_article(given)}{type(given).__name__}.", hint=_info_hint(given)
        )
    for field in ("name", "avatar_url", "external_id"):
        _check_text(field, getattr(info, field))
    if info.attributes is not None:
        check_attributes(info.attributes)
    check_external_id(info.external_id)


def _check_text(field: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise IllegalArgumentError(f"{field} must be a string or None, not {_article(value)}{type(value).__name__}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise IllegalArgumentError(f"{field} has a lone surrogate in it, which is not a character.") from None


def _check_device(device: Device | None) -> None:
    given: object = device
    if given is not None and not isinstance(given, Device):
        raise IllegalArgumentError(
            f"device must be a Device, not {_article(given)}{type(given).__name__}.",
            hint='Pass device=Device(id="laptop").',
        )


def _info_hint(given: object) -> str:
    """The call that was probably meant."""
    if isinstance(given, str):
        return f"Pass ParticipantInfo(name={given!r})."
    if not isinstance(given, Mapping):
        return 'Pass ParticipantInfo(name="Anna").'
    fields = {_FIELDS.get(str(key).lower().replace("_", "")): value for key, value in given.items()}
    known = ", ".join(f"{name}={value!r}" for name, value in fields.items() if name is not None)
    return f"Pass ParticipantInfo({known})."


def _article(value: object) -> str:
    return "an " if type(value).__name__[0] in "aeiou" else "a "
