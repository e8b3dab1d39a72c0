"""The main object (platform: ``VoxeetSDK.shared``, ``CommsAPI``)."""

from __future__ import annotations

from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Self

from greenroom.errors import IllegalArgumentError, TokenInvalidError
from greenroom.messages import SdkVersion
from greenroom.sdk.callbacks import CallbackQueue
from greenroom.sdk.environment import Environment
from greenroom.sdk.notifier import Notifier
from greenroom.sdk.participants import ParticipantsService
from greenroom.sdk.runner import Refresh, Runner
from greenroom.sdk.session import SessionService
from greenroom.sdk.transport import service_base

if TYPE_CHECKING:
    import ssl

    from greenroom.core.client.effects import ClientSettings


class Greenroom:
    """A client of one Greenroom service. Creating it opens nothing.

    url: where the service is, e.g. ``https://sessions.example.com``; http, https, ws and wss are taken, and a path.
    ssl_context: None trusts the system's certificate authorities. Proxies are taken from the environment.
    settings: durations, for tests; None for the documented ones.
    environment: clocks, randomness and network, for simulations; None for the real ones.

    Raises IllegalArgumentError for a URL that is none. An object belongs to one event loop at a time. As an async
    context manager it ends everything on the way out.
    """

    def __init__(
        self,
        url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        settings: ClientSettings | None = None,
        environment: Environment | None = None,
    ) -> None:
        environment = Environment() if environment is None else environment
        transport = environment.transport(service_base(url), ssl_context)
        notifier = Notifier(CallbackQueue())
        self._runner = Runner(transport, notifier, environment, SdkVersion("greenroom-python", _version()), settings)
        self.participants = ParticipantsService(self._runner, notifier)
        """Looks participants up, and watches them. Needs an open session."""
        self.session = SessionService(self._runner, notifier)
        """The session."""

    def initialize_token(self, token: str, refresh: Refresh | None = None) -> None:
        """Use this client access token. Opens nothing.

        refresh: ``refresh(is_expired)`` returns a new token for the same participant, and may be ``async``; a plain
        function is called in a thread. It is called at 1/2 and 3/4 of the token's life with False, at its end with
        True. None: the session ends with the token.

        Raises TokenInvalidError for what is no token, SessionAlreadyOpenError where a session of somebody else is open.
        """
        given: object = token
        if not isinstance(given, str):
            raise TokenInvalidError(
                f"token is {'None' if given is None else type(given).__name__}, not a string.",
                hint="Pass the access_token of the reply.",
            )
        if refresh is not None and not callable(refresh):
            raise IllegalArgumentError("refresh is a function of is_expired, or None.")
        self._runner.set_token(token, refresh)

    def initialize(self, app_key: str, app_secret: str) -> None:
        """For prototypes: the SDK gets v1 client access tokens itself. An app secret does not belong on a device of
        a participant. Opens nothing.

        Raises IllegalArgumentError for an empty key or secret, SessionAlreadyOpenError under a session.
        """
        pairs: tuple[tuple[str, object], ...] = (("app_key", app_key), ("app_secret", app_secret))
        for name, value in pairs:
            if not isinstance(value, str) or not value.strip():
                raise IllegalArgumentError(f"{name} is empty.", hint="Pass the app key and secret of your application.")
        transport = self._runner.transport

        async def refresh(is_expired: bool) -> str:
            return await transport.fetch_token(app_key.strip(), app_secret.strip())

        self._runner.set_token(None, refresh)

    async def aclose(self) -> None:
        """Close, and end at once what would go on in the background."""
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
