"""The command line: one file per verb. `main` is the program ``greenroom``.

Starting must be quick: verbs import what they need when they run, never when this is imported.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from greenroom.cli.exits import Exit

if TYPE_CHECKING:
    import typer

SECRET_VARIABLES = ("GREENROOM_APP_SECRET", "GREENROOM_TOKEN")
EPILOG = (
    "Exit codes: 0 done; 1 the service refused; 2 wrong usage; 3 the service cannot be reached; 4 credentials refused; "
    "5 no such thing; 6 conflict; 7 try again later; 70 a bug; 130 interrupted."
)


def make_app() -> typer.Typer:
    """The whole command line."""
    import typer

    from greenroom.cli import (
        apps,
        backup,
        bench,
        config,
        doctor,
        drain,
        events,
        keys,
        nodes,
        open_session,
        participants,
        rooms,
        root,
        serve,
        sessions,
        status,
        token,
        webhooks,
    )

    app = typer.Typer(
        name="greenroom",
        epilog=EPILOG,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root.root)
    serve.add_to(app)
    apps.add_to(app)
    token.add_to(app)
    open_session.add_to(app)
    config.add_to(app)
    keys.add_to(app)
    status.add_to(app)
    nodes.add_to(app)
    drain.add_to(app)
    doctor.add_to(app)
    bench.add_to(app)
    backup.add_to(app)
    participants.add_to(app)
    sessions.add_to(app)
    rooms.add_to(app)
    events.add_to(app)
    webhooks.add_to(app)
    return app


def main() -> None:
    """Runs the command line and ends the process. Errors are one line on stderr and an exit code, never a traceback
    (GREENROOM_DEBUG=1 shows it)."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name may hold what the terminal's encoding has no bytes for: that is escaped, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        _read_secret_files()
        make_app()(prog_name="greenroom")
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        # What reads our output has gone (`| head`). Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Exit.DONE) from None
    except Exception as error:
        if os.environ.get("GREENROOM_DEBUG"):
            raise
        text, code = explain(error)
        print(f"greenroom: {text}", file=sys.stderr)
        raise SystemExit(code) from None


def _read_secret_files() -> None:
    """The app secret and the token may be in files, as the settings of the service may. Raises CliError."""
    from greenroom.cli.discovery import secret_in_file

    for variable in SECRET_VARIABLES:
        text = None if os.environ.get(variable) else secret_in_file(variable)
        if text is not None:
            os.environ[variable] = text


def _open_closed_streams() -> None:
    """Streams that the caller has closed (`greenroom serve >&-`) lead to /dev/null: else the first sockets would get
    their numbers, and what is written to a stream would go there."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    # They stay open as long as the process: there is nobody to close them.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def explain(error: Exception) -> tuple[str, Exit]:
    """One line for people, and the exit code."""
    from greenroom.cli.exits import CliError, exit_of
    from greenroom.core.redaction import redact_addresses
    from greenroom.errors import GreenroomError

    if isinstance(error, CliError):
        return redact_addresses(str(error)), error.exit
    if isinstance(error, GreenroomError):
        return redact_addresses(" ".join(str(error).split())), exit_of(error)
    if isinstance(error, ImportError):
        name = error.name or "a package"
        return f"{name} is not installed. Run in a clone of Greenroom: pip install '.[server]'", Exit.USAGE
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return "An argument or a variable is not UTF-8 text.", Exit.USAGE
    if isinstance(error, OSError):
        return " ".join(str(error).split()), Exit.FAILED
    return f"a bug: {type(error).__name__}. GREENROOM_DEBUG=1 shows where; please report it.", Exit.BUG


__all__ = ["explain", "main", "make_app"]
