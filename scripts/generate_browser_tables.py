"""Writes browser/src/tables.js from the Python tables, or checks that it is up to date.

usage: python scripts/generate_browser_tables.py [--check]

States, transitions, codes, the error tree, retry actions and defaults of the browser SDK are these: the two SDKs
cannot drift. The file is committed; a test and `make check` run this with `--check`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from greenroom import errors, messages
from greenroom.codes import CLOSES, ERRORS, CloseCode, ErrorCode, is_retryable_error
from greenroom.core import backoff
from greenroom.core.client import attempts as client_attempts
from greenroom.core.client import lifecycle as client_lifecycle
from greenroom.core.client import requests as client_requests
from greenroom.core.client import retry_policy
from greenroom.core.client import session as client
from greenroom.core.client import tokens as client_tokens
from greenroom.core.client.effects import ClientSettings
from greenroom.core.client.retry_policy import RetryAction
from greenroom.core.states import CLIENT_TRANSITIONS
from greenroom.model import _STATUS_OF, EndReason

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "browser" / "src" / "tables.js"

SAID_BY_THE_SDK = frozenset(
    {
        ErrorCode.ILLEGAL_ARGUMENT,
        ErrorCode.SERVICE_UNAVAILABLE,
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.OPEN_TIMEOUT,
        ErrorCode.TOKEN_REFRESH_FAILED,
        ErrorCode.TOKEN_INVALID,
        ErrorCode.EXTERNAL_ID_MISMATCH,
        ErrorCode.SESSION_ENDED,
        ErrorCode.SESSION_NOT_OPEN,
        ErrorCode.INVALID_CLIENT,
        ErrorCode.NOT_A_MEMBER,
        ErrorCode.NOT_INITIALIZED,
        ErrorCode.SESSION_ALREADY_OPEN,
        ErrorCode.OPEN_CANCELLED,
        ErrorCode.PROTOCOL_ERROR,
    }
)
"""Errors that an SDK makes itself. All others come over the wire with their texts, which need not be in the module."""

NOT_FOR_SESSIONS = (errors.NotFoundError, errors.ConflictError)
"""Errors of the server API: no session ever receives them."""

USED_CODES = frozenset({"INTERNAL_ERROR", "INVALID_CLIENT", "NOT_FOUND", "SERVICE_UNAVAILABLE", "TOKEN_EXPIRED"})
USED_CLOSES = frozenset({"NORMAL", "ABNORMAL", "COME_BACK", "HEARTBEAT"})
"""Those that the browser SDK names; the others it judges by their band or by a table."""

JAVASCRIPT_NAMES = {
    "initialize_token": "initializeToken",
    "app_key": "appKey",
    "app_secret": "appSecret",
    "update_participant_info": "updateParticipantInfo",
}
"""Names of the Python SDK in texts, and what they are called here. Settings of the service keep theirs."""

HEAD = """\
// Made by scripts/generate_browser_tables.py from the Python tables. Do not edit.
"""


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _renamed(text: str) -> str:
    for python, javascript in JAVASCRIPT_NAMES.items():
        text = text.replace(python, javascript)
    return text


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _short(code: int) -> str:
    """-32000 - n, as n: what all codes have in common is left out."""
    return str(-32000 - int(code))


def _tree() -> str:
    """Each error class: its name and its parent's without "Error", its first code, and the others that it stands for.

    Codes that their band alone gives to the class are left out. One text, because it is a fifth of what objects take.
    """
    rows: list[str] = []

    def walk(parent: type[errors.GreenroomError], name: str) -> None:
        for child in parent.__subclasses__():
            if child.__module__ != errors.__name__ or child in NOT_FOR_SESSIONS or child.__bases__[0] is not parent:
                continue
            if child.__name__.startswith("_"):  # a helper of the Python module: its children are its parent's
                walk(child, name)
                continue
            others = [code for code, kind in errors.CLASS_OF_CODE.items() if kind is child]
            others = [code for code in others if code is not child.default_code and _by_band(code) is not child]
            codes = [_short(child.default_code), *map(_short, others)]
            rows.append(":".join([child.__name__.removesuffix("Error"), name, *codes]))
            walk(child, child.__name__.removesuffix("Error"))

    walk(errors.GreenroomError, "Greenroom")
    return " ".join(rows)


def _by_band(code: int) -> type[errors.GreenroomError]:
    return errors.ServiceUnavailableError if is_retryable_error(code) else errors.ProtocolError


def _errors() -> dict[str, list[str]]:
    return {
        _short(code): [row.reason, _renamed(row.meaning), _renamed(row.what_to_do)]
        if code in SAID_BY_THE_SDK
        else [row.reason]
        for code, row in ERRORS.items()
        if code in SAID_BY_THE_SDK or code in _close_errors().values()
    }


def _close_errors() -> dict[int, int]:
    """Close codes that stand for an error of their own."""
    found = {one: retry_policy.error_of_close(one, "").code for one in CloseCode if one >= 4000}
    return {int(one): int(code) for one, code in found.items() if code is not ErrorCode.SESSION_ENDED}


def _transitions() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for (state, event), after in CLIENT_TRANSITIONS.items():
        table.setdefault(state, {})[event] = after
    return table


def tables() -> dict[str, tuple[str, Any]]:
    """Name, what it is, value: all that the module exports."""
    settings = ClientSettings()
    return {
        "TRANSITIONS": ("State, event, next state. What is not here changes nothing.", _transitions()),
        "SETTINGS": (
            "Durations in seconds, and counts. The underscore lets the build shorten the names.",
            {"_" + _camel(one.name): _plain(getattr(settings, one.name)) for one in fields(settings)},
        ),
        "FIRST_DELAY": ("Seconds.", backoff.FIRST_DELAY),
        "LONGEST_DELAY": ("Seconds.", _plain(backoff.LONGEST_DELAY)),
        "MAX_RETRY_AFTER": ("Seconds.", _plain(backoff.MAX_RETRY_AFTER)),
        "PACE": ("The part of the service's limits that is used.", client_requests.PACE),
        "MESSAGES_PER_SECOND": ("Of a service that does not say.", _plain(client_requests.MESSAGES_PER_SECOND)),
        "MESSAGES_BURST": ("Of a service that does not say.", client_requests.MESSAGES_BURST),
        "MERGED_METHODS": ("Several become one message.", sorted(client_requests.MERGED_METHODS)),
        "EXCLUSIVE_METHODS": (
            "Of one room, the next is sent when the one before is answered.",
            sorted(client_requests.EXCLUSIVE_METHODS),
        ),
        "WAKE_GAP": ("Seconds by which the wall clock ran ahead: the machine slept.", _plain(client.WAKE_GAP)),
        "LATE": ("Seconds. A timer as late as this slept.", _plain(client_attempts.LATE)),
        "TOKEN_LEEWAY": ("Seconds for which a spent token can still be replaced.", _plain(client_tokens.LEEWAY)),
        "DRAINING": ("A reason of session.moveOn: the node is well.", client_lifecycle.DRAINING),
        "SUBPROTOCOL": ("Of the WebSocket.", messages.SUBPROTOCOL),
        "PATH": ("Of the WebSocket.", messages.PATH),
        "MAX_MESSAGE_BYTES": ("One message of ours.", messages.MAX_MESSAGE_BYTES),
        **{f"{one.name}": ("", int(one)) for one in ErrorCode if one.name in USED_CODES},
        **{f"CLOSE_{one.name}": ("", int(one)) for one in CloseCode if one.name in USED_CLOSES},
        "ERRORS": ("Errors that this SDK makes itself, by -32000 - n: reason, meaning, what to do.", _errors()),
        "ERROR_TREE": ("Class:parent:first code:other codes, names without Error, codes as -32000 - n.", _tree()),
        "CLOSE_REASONS": (
            "Of final close codes, which become the reason of an end.",
            {
                int(one): row.reason
                for one, row in CLOSES.items()
                if retry_policy.action_of_close(one) is not RetryAction.RETRY
                and retry_policy.error_of_close(one, "").code is ErrorCode.SESSION_ENDED
            },
        ),
        "CLOSE_ACTIONS": (
            "Of close codes; the others are judged by their band.",
            {
                int(one): str(retry_policy.action_of_close(one))
                for one in CloseCode
                if retry_policy.action_of_close(one) not in (RetryAction.RETRY, RetryAction.FINAL)
            },
        ),
        "CLOSE_ERRORS": (
            "Error codes that close codes stand for; the others end the session for the reason in CLOSE_REASONS.",
            _close_errors(),
        ),
        "HELD_CODES": (
            "Refusals that a resume, session.stay or a new token mends.",
            sorted(int(one) for one in client_requests.HELD_CODES),
        ),
        "ACTIONS": (
            "Of error codes; the others are judged by their band.",
            {int(code): str(action) for code, action in retry_policy._CODES.items()},
        ),
        "REASONS": (
            "Of error codes: the word for an end.",
            {int(code): str(reason) for code, reason in retry_policy.REASON_OF_CODE.items()},
        ),
        "FINAL_REASONS": (
            "Ends after which an SDK does not come back.",
            [str(one) for one in EndReason if one in retry_policy.FINAL_REASONS],
        ),
        "STATUS": (
            "The platform's status for a presence.",
            {str(one): str(status) for one, status in _STATUS_OF.items()},
        ),
    }


def _value(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(one, dict | list) for one in value.values()):
        rows = [f"  {_key(key)}: {_value(one)}," for key, one in value.items()]
        return "\n".join(["{", *rows, "}"])
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)}: {_value(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _key(key: object) -> str:
    text = str(key)
    return text if text.isidentifier() or text.isdigit() else json.dumps(text)


def text() -> str:
    """The file."""
    parts = [HEAD]
    for name, (what, value) in tables().items():
        comment = f"\n/** {what} */\n" if what else ""
        parts.append(f"{comment}export const {name} = {_value(value)};\n")
    return "".join(parts)


def main(arguments: Sequence[str]) -> int:
    made = text()
    if "--check" in arguments:
        there = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if there == made:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is out of date: run python scripts/generate_browser_tables.py")
        return 1
    TARGET.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
