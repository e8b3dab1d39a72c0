"""docs/reference/codes.md: every error code and close code, from greenroom.codes."""

from __future__ import annotations

from greenroom.codes import CLOSES, ERRORS, CloseCode, ErrorCode, is_retryable_close, is_retryable_error
from greenroom.errors import CLASS_OF_CODE


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def generate() -> dict[str, str]:
    """The page."""
    lines = [
        "# Codes",
        "",
        "Made from `greenroom.codes`. The band alone says what a client must do, also for a number it does not know.",
        "",
        "## Error codes",
        "",
        "-32001 … -32049: try again. -32050 … -32099: something has to change first. The others are JSON-RPC's own.",
        "`platform` is the `error_code` of HTTP bodies. What each means, and what to do, stands [below](#what-to-do).",
        "",
        "| code | reason | SDK error | HTTP | platform | again? |",
        "|---|---|---|---|---|---|",
    ]
    for code in sorted(ErrorCode, reverse=True):
        row = ERRORS[code]
        lines.append(
            f"| {int(code)} | [`{row.reason}`](#{row.reason.lower()}) | `{CLASS_OF_CODE[code].__name__}` |"
            f" {row.http_status} | {row.platform_code} | {_yes(is_retryable_error(code))} |"
        )
    lines += [
        "",
        "## Close codes",
        "",
        "4000 … 4499: come back. 4500 … 4999: do not. The others are RFC 6455's.",
        "",
        "| code | name | come back? | meaning |",
        "|---|---|---|---|",
    ]
    for close in sorted(CloseCode):
        closed = CLOSES[close]
        back = "the client decided" if close is CloseCode.NORMAL else _yes(is_retryable_close(close))
        lines.append(f"| {int(close)} | `{closed.reason}` | {back} | {closed.meaning} |")
    lines += ["", "## What to do", "", "By reason, as SDKs, HTTP and the command line give it."]
    for row in sorted(ERRORS.values(), key=lambda row: row.reason.lower()):
        lines += ["", f"### {row.reason}", "", f"{row.meaning} **{row.what_to_do}**"]
    lines += ["", "Not here? [Troubleshoot](../how-to/troubleshoot.md) begins with what you see."]
    return {"reference/codes.md": "\n".join(lines) + "\n"}
