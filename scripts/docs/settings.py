"""docs/reference/settings.md: every setting of the service, from greenroom.server.config."""

from __future__ import annotations

from greenroom.server.config import CONFIG_VARIABLE, FILE_SUFFIX, settings

_HEAD = f"""# Settings

Made from `greenroom.server.config`. A setting on the command line takes precedence over its variable, a variable over
the TOML file (`greenroom serve --config FILE`, or `{CONFIG_VARIABLE}`), and the file over the default. The file has the
names as written here, without sections; an unknown name is refused. `greenroom config` prints the settings in effect
and where each comes from; secrets, and passwords inside addresses, are shown as `***`. Lists in variables are separated
by commas or spaces. Durations are seconds, or written like `10s`, `5m`, `1.5h` or `1d`. White space around a value is
ignored.

A secret may also be in a file, as container platforms mount them. The variable that ends in `_FILE` names it:
{{files}}.

An unknown `GREENROOM_` variable is a warning in the log, with the name that was probably meant. An address where a port
is expected (`GREENROOM_PORT=tcp://…`, which Kubernetes and docker links set) is ignored with a warning.

The service refuses to start with settings that contradict each other: `renew_interval` must be at most a third of
`lease`, `fence_after` above `renew_interval` and more than 2 s below `lease`, `pong_timeout` below `ping_interval`,
`grace_going_away` and `grace_unconfirmed` not above `grace`, `reap_interval` at most 2 s, and `tls_cert` and `tls_key`
go together.

Limits per application (devices, sessions, watched participants, origins) are the application's own: see
`greenroom apps`.

| setting and variable | what it is | kind | default |
|---|---|---|---|
"""


def generate() -> dict[str, str]:
    """The page."""
    rows = []
    for one in settings():
        kind = f"{one.kind}, {one.unit}" if one.unit else one.kind
        rows.append(f"| `{one.name}`<br>`{one.variable}` | {one.text} | {kind} | `{one.default}` |")
    files = ", ".join(f"`{one.variable}{FILE_SUFFIX}`" for one in settings() if one.has_file_form)
    return {"reference/settings.md": _HEAD.replace("{files}", files) + "\n".join(rows) + "\n"}
