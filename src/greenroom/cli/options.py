"""Options that several verbs share, and where their values come from when they are not given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from greenroom.cli.discovery import DEFAULT_DATA, DEFAULT_URL
from greenroom.core.durations import parse_duration


def duration(*names: str, help: str, least: float = 0.0, most: float = inf, shown: str | bool = False) -> Any:
    """An option whose value is written like 10s, 1h or 2d; its value is seconds. least, most: seconds. shown: the
    default as people write it."""

    def parse(value: str | float) -> float:
        try:
            seconds = parse_duration(value) if isinstance(value, str) else float(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if not least <= seconds <= most:
            raise typer.BadParameter(f"{value} is not between {least:g} and {most:g} seconds.")
        return seconds

    return typer.Option(*names, metavar="DURATION", parser=parse, help=help, show_default=shown)


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="GREENROOM_URL",
        help=f"The service's URL. Left out: the one in the data directory, else {DEFAULT_URL}.",
        show_default=False,
    ),
]
AdminToken = Annotated[
    str | None,
    typer.Option(
        "--admin-token",
        envvar="GREENROOM_ADMIN_TOKEN",
        help="The admin token. Left out: the file admin-token in the data directory.",
        show_default=False,
        show_envvar=True,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        envvar="GREENROOM_DATA_DIR",
        help=f"The service's data directory. Left out: ./{DEFAULT_DATA}.",
        show_default=False,
    ),
]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        envvar="GREENROOM_APP",
        help="The app key of the application, for operators: with the admin token no app secret is needed.",
        show_default=False,
    ),
]
AppKey = Annotated[
    str | None, typer.Option("--key", envvar="GREENROOM_APP_KEY", help="The app key.", show_default=False)
]
AppSecret = Annotated[
    str | None, typer.Option("--secret", envvar="GREENROOM_APP_SECRET", help="The app secret.", show_default=False)
]


# -- what verbs are given ----------------------------------------------------------------------------------------------


def with_backend(scope: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a verb of an application: its first argument is a `ServerApi`. The verb gets the options that name one: --key
    and --secret, or --app and --admin-token; --url and --data. scope: what an API token is asked for."""

    def make(**options: Any) -> Any:
        from greenroom.cli.backend import ServerApi

        return ServerApi.find(scope=scope, **options)

    shared = {"key": AppKey, "secret": AppSecret, "app": App, "admin_token": AdminToken, "url": Url, "data": Data}
    return lambda verb: _given(verb, make, shared)


def with_service(verb: Callable[..., None]) -> Callable[..., None]:
    """For a verb of operators: its first argument is a `ServiceClient`. The verb gets --admin-token, --url, --data."""

    def make(**options: Any) -> Any:
        from greenroom.cli.service import ServiceClient

        return ServiceClient.find(**options)

    return _given(verb, make, {"admin_token": AdminToken, "url": Url, "data": Data})


def _given(verb: Callable[..., None], make: Callable[..., Any], shared: Mapping[str, Any]) -> Callable[..., None]:
    """`verb` with the shared options instead of its first parameter: Typer reads the signature."""

    @functools.wraps(verb)
    def call(**options: Any) -> None:
        made = make(**{name: options.pop(name) for name in shared})
        verb(made, **options)

    del call.__wrapped__
    names = verb.__globals__
    own = [
        # A default stays where it is; a string is what `from __future__ import annotations` made of the annotation.
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=eval(one.annotation, names))
        for one in list(inspect.signature(verb).parameters.values())[1:]
    ]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in shared.items()
    ]
    call.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    return call
