"""docs/reference/settings.md: every setting of the service, from greenroom.server.config."""

from __future__ import annotations

from greenroom.server.config import CONFIG_VARIABLE, FILE_SUFFIX, settings

_HEAD = f"""# Settings

Made from `greenroom.server.config`. A setting comes from the command line, else from its variable, else from a TOML
file (`greenroom serve --config FILE`, or `{CONFIG_VARIABLE}`), else it has its default. In the file names are written
as here, without sections; a name that is not here is refused. `greenroom config` prints what is in effect and where it
came from; secrets, and passwords inside addresses, are shown as `***`. Lists in variables are separated by commas or
spaces. Durations are seconds, or written like `10s`, `5m`, `1.5h` or `1d`. White space around a value is no part of it.

A secret may also be in a file that the variable with `_FILE` at its end names, as container platforms mount them:
{{files}}.

An unknown `GREENROOM_` variable is a warning in the log, with the name that was probably meant. An address where a port
is expected (`GREENROOM_PORT=tcp://…`, which Kubernetes and docker links put there) is ignored with a warning.

The service refuses to start with settings that contradict each other: `renew_interval` must be at most a third of
`lease`, `fence_after` above `renew_interval` and more than 2 s below `lease`, `pong_timeout` below `ping_interval`,
`grace_going_away` and `grace_unconfirmed` not above `grace`, `reap_interval` at most 2 s, and `tls_cert` and `tls_key`
go together.

Limits per application (devices, sessions, watched participants, origins) are the application's own: see
`greenroom apps`.

| setting | variable | what it is | kind | unit | default |
|---|---|---|---|---|---|
"""


def generate() -> dict[str, str]:
    """The page."""
    rows = [
        f"| `{one.name}` | `{one.variable}` | {one.text} | {one.kind} | {one.unit} | `{one.default}` |"
        for one in settings()
    ]
    files = ", ".join(f"`{one.variable}{FILE_SUFFIX}`" for one in settings() if one.has_file_form)
    return {"reference/settings.md": _HEAD.replace("{files}", files) + "\n".join(rows) + "\n"}
