"""The main object (platform: ``VoxeetSDK.shared``, ``CommsAPI``)."""

from __future__ import annotations

import os
import ssl
from importlib import metadata
from types import TracebackType
from typing import Self

from greenroom.core.client.effects import ClientSettings
from greenroom.errors import IllegalArgumentError, NotInitializedError
from greenroom.messages import SdkVersion
from greenroom.sdk.addresses import service_base
from greenroom.sdk.callbacks import CallbackQueue
from greenroom.sdk.environment import Environment
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.participants import ParticipantsService
from greenroom.sdk.resume_file import ResumeFile
from greenroom.sdk.rooms import RoomsService
from greenroom.sdk.runner import Refresh, Runner
from greenroom.sdk.session import SessionService


class Greenroom:
    """A client of one Greenroom service. Creating it opens nothing.

    url: where the service is, e.g. ``https://sessions.example.com``; http, https, ws and wss are taken, a path, and a
    URL object. ssl_context: None trusts the system's certificate authorities. Proxies are taken from the environment.
    resume_from: a file that keeps the session for the next process, with mode 0600: a program that was killed resumes
    its session, if it asks for the same info within the grace. One process at a time. None: nothing is kept.
    settings: durations, for tests; None for the documented ones.
    environment: clocks, randomness and network, for simulations; None for the real ones.

    Raises IllegalArgumentError for an invalid URL, and a file that another process uses. An object belongs to one
    process and one event loop at a time. As an async context manager it closes the session on the way out.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        settings: ClientSettings | None = None,
        environment: Environment | None = None,
    ) -> None:
        environment = Environment() if environment is None else environment
        transport = environment.transport(service_base(url), ssl_context)
        notifier = Notifier(CallbackQueue())
        resume_file = None if resume_from is None else ResumeFile(resume_from)
        version = SdkVersion("greenroom-python", _version())
        self._runner = Runner(transport, notifier, environment, version, settings, resume_file)
        self.participants = ParticipantsService(self._runner, notifier)
        """Looks participants up, and watches them. Needs an open session."""
        self.rooms = RoomsService(self._runner, notifier)
        """Rooms: rosters, messages, invitations. Needs an open session."""
        self.session = SessionService(self._runner, notifier)
        """The session."""

    def initialize_token(self, token: str | None, refresh: Refresh | None = None) -> None:
        """Use this client access token. Opens nothing. token: None if `refresh` is to be called for the first one, too.

        refresh: ``refresh(is_expired)`` returns a new token for the same participant, and may be ``async``; a plain
        function is called in a thread. It is called at 1/2 and 3/4 of the token's life with False, at its end with
        True. None: the session ends with the token.

        Raises TokenInvalidError for what is not a token, SessionAlreadyOpenError where another participant's session is
        open, NotInitializedError for neither token nor callback.
        """
        if refresh is not None and not callable(refresh):
            raise IllegalArgumentError(
                f"refresh must be a function that takes is_expired, not {type(refresh).__name__}.",
                hint="Pass the function itself, without calling it.",
            )
        if token is None and refresh is None:
            raise NotInitializedError("token is None, and there is no refresh callback.")
        self._runner.set_token(token, refresh)

    def initialize(self, app_key: str, app_secret: str) -> None:
        """For prototypes: the SDK gets v1 client access tokens itself. An app secret does not belong on a device of
        a participant. Opens nothing.

        Raises IllegalArgumentError for an empty key or secret, SessionAlreadyOpenError under a session.
        """
        pairs: tuple[tuple[str, object], ...] = (("app_key", app_key), ("app_secret", app_secret))
        for name, value in pairs:
            if not isinstance(value, str) or not value.strip():
                given = "empty" if isinstance(value, str) else f"{type(value).__name__}, not a string"
                raise IllegalArgumentError(
                    f"{name} is {given}.", hint="Pass the app key and secret of your application."
                )
        transport = self._runner.transport

        async def refresh(is_expired: bool) -> str:
            return await transport.fetch_token(app_key.strip(), app_secret.strip())

        self._runner.set_token(None, refresh)

    async def aclose(self) -> None:
        """Close, and end all background work at once."""
        await self._runner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _version() -> str:
    try:
        return metadata.version("greenroom")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return ""
